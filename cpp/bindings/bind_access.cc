// Access control and effective plan values of a tenant, outside decisions.
#include <pybind11/stl.h>

#include "bind_catalog.h"
#include "bind_engine.h"

namespace tenancy {
namespace {

std::string_view view_or_empty(const py::object& text) {
  return text.is_none() ? std::string_view() : utf8_view(text);
}

// The roles to be active, kept for the query that names them; absent: all that are held. Raises
// CONFLICT where a duty forbids them together, INVALID_ARGUMENT where one is not held.
void activate(const AccessModel& access, const py::object& roles,
              std::vector<std::string_view>* names, AccessQuery* query) {
  if (roles.is_none()) return;
  for (py::handle name : roles) names->push_back(utf8_view(name));
  ok_or_raise(access.check_active(query->tenant, query->principal, *names, query->wall_ns));
  query->active_roles = *names;
}

AccessQuery query_of(const Engine& engine, const TenantEntry& tenant, const py::object& principal,
                     const py::object& resource) {
  AccessQuery query;
  query.tenant = tenant.index;
  query.principal = view_or_empty(principal);
  query.resource = view_or_empty(resource);
  query.wall_ns = engine.clock().wall_ns();
  return query;
}

bool check(const Engine& engine, const py::str& tenant, const py::str& principal,
           const py::str& permission, const py::object& resource, const py::object& roles) {
  const auto definitions = definitions_of(engine);
  AccessQuery query = query_of(engine, tenant_of(*definitions, tenant), principal, resource);
  if (query.principal.empty()) return false;
  std::vector<std::string_view> active;
  activate(*definitions->access, roles, &active, &query);
  query.permission = utf8_view(permission);
  return definitions->access->check(query) == AccessReason::kAllowed;
}

py::list check_many(const Engine& engine, const py::str& tenant, const py::str& principal,
                    const py::sequence& permissions, const py::object& resource,
                    const py::object& roles) {
  const auto definitions = definitions_of(engine);
  AccessQuery query = query_of(engine, tenant_of(*definitions, tenant), principal, resource);
  std::vector<std::string_view> active;
  activate(*definitions->access, roles, &active, &query);
  std::vector<std::string_view> names;
  for (py::handle permission : permissions) names.push_back(utf8_view(permission));
  std::vector<AccessReason> reasons(names.size(), AccessReason::kNoAssignment);
  if (!query.principal.empty()) definitions->access->check_many(query, names, reasons);
  py::list out;
  for (const AccessReason reason : reasons) out.append(reason == AccessReason::kAllowed);
  return out;
}

std::string_view access_reason_name(AccessReason reason) {
  switch (reason) {
    case AccessReason::kAllowed: return "allowed";
    case AccessReason::kNoAssignment: return "no_assignment";
    case AccessReason::kNotGranted: return "not_granted";
    case AccessReason::kDenied: return "denied";
    case AccessReason::kOutsideScopes: return "outside_scopes";
    case AccessReason::kMalformed: return "malformed";
    case AccessReason::kDuty: return "separation_of_duty";
  }
  return "not_granted";
}

py::object until_or_none(int64_t until_ns) {
  return until_ns == kForever ? py::object(py::none()) : py::object(py::int_(until_ns));
}

py::dict explain(const Engine& engine, const py::str& tenant, const py::object& principal,
                 const py::str& permission, const py::object& resource, const py::object& scopes,
                 const py::object& roles) {
  const auto definitions = definitions_of(engine);
  AccessQuery query = query_of(engine, tenant_of(*definitions, tenant), principal, resource);
  std::vector<std::string_view> active;
  activate(*definitions->access, roles, &active, &query);
  query.permission = utf8_view(permission);
  std::shared_ptr<const AccessModel> model = definitions->access;
  if (!scopes.is_none()) {
    // Scopes that no key has yet are known only to a copy made for this question.
    AccessEditor editor(model.get());
    query.scopes = value_or_raise(editor.intern_scopes(scopes.cast<std::vector<std::string>>()));
    model = editor.finish();
  }
  return access_path_dict(model->explain(query));
}

std::vector<std::string> permissions(const Engine& engine, const py::str& tenant,
                                     const py::str& principal, const py::object& resource,
                                     const py::object& roles) {
  const auto definitions = definitions_of(engine);
  AccessQuery query = query_of(engine, tenant_of(*definitions, tenant), principal, resource);
  std::vector<std::string_view> active;
  activate(*definitions->access, roles, &active, &query);
  return definitions->access->permissions(query);
}

py::dict report(const Engine& engine, const py::object& tenant) {
  const auto definitions = definitions_of(engine);
  const TenantIndex owner =
      tenant.is_none() ? kAllTenants : tenant_of(*definitions, py::str(tenant)).index;
  const RoleReport told = definitions->access->report(owner);
  py::list over_broad;
  for (const RoleReport::OverBroad& found : told.over_broad) {
    over_broad.append(py::make_tuple(found.role, found.pattern));
  }
  py::dict out;
  out["unused"] = told.unused;
  out["duplicates"] = told.duplicates;
  out["over_broad"] = std::move(over_broad);
  return out;
}

std::vector<std::string> who_can(const Engine& engine, const py::str& tenant,
                                 const py::str& permission, const py::object& resource) {
  const auto definitions = definitions_of(engine);
  const AccessQuery query = query_of(engine, tenant_of(*definitions, tenant), py::none(), resource);
  return definitions->access->who_can(query.tenant, utf8_view(permission), query.resource,
                                      query.wall_ns);
}

py::list assignments(const Engine& engine, const py::str& tenant, const py::str& principal) {
  const auto definitions = definitions_of(engine);
  py::list out;
  for (const auto& row : definitions->access->assignments(tenant_of(*definitions, tenant).index,
                                                          utf8_view(principal))) {
    py::object resource =
        row.resource.empty() ? py::object(py::none()) : py::object(py::str(row.resource));
    out.append(py::make_tuple(row.principal, row.role, resource, until_or_none(row.until_ns)));
  }
  return out;
}

py::object missing_for_grant(const Engine& engine, const py::str& tenant, const py::str& holder,
                             const py::str& role) {
  const auto definitions = definitions_of(engine);
  const auto missing = definitions->access->missing_for_grant(
      tenant_of(*definitions, tenant).index, utf8_view(holder), kNoScopes, utf8_view(role),
      engine.clock().wall_ns());
  return missing ? py::object(py::str(*missing)) : py::object(py::none());
}

}  // namespace

py::dict access_path_dict(const AccessPath& path) {
  py::dict out;
  out["allowed"] = path.allowed;
  out["reason"] = to_str(access_reason_name(path.reason));
  out["pattern"] = path.pattern;
  out["roles"] = path.roles;
  out["resource"] =
      path.resource.empty() ? py::object(py::none()) : py::object(py::str(path.resource));
  out["until_wall_ns"] = until_or_none(path.until_ns);
  out["nearest_miss"] = path.nearest_miss;
  return out;
}

void bind_engine_access(EngineClass& engine) {
  engine
      .def("access_check", &check, py::arg("tenant"), py::arg("principal"), py::arg("permission"),
           py::arg("resource") = py::none(), py::arg("roles") = py::none())
      .def("access_check_many", &check_many, py::arg("tenant"), py::arg("principal"),
           py::arg("permissions"), py::arg("resource") = py::none(), py::arg("roles") = py::none())
      .def("access_explain", &explain, py::arg("tenant"), py::arg("principal"),
           py::arg("permission"), py::arg("resource"), py::arg("scopes"),
           py::arg("roles") = py::none())
      .def("access_permissions", &permissions, py::arg("tenant"), py::arg("principal"),
           py::arg("resource") = py::none(), py::arg("roles") = py::none())
      .def("access_report", &report, py::arg("tenant"))
      .def("access_who_can", &who_can, py::arg("tenant"), py::arg("permission"),
           py::arg("resource") = py::none())
      .def("access_assignments", &assignments, py::arg("tenant"), py::arg("principal"))
      .def(
          "access_roles",
          [](const Engine& self, const py::str& tenant) {
            const auto definitions = definitions_of(self);
            return definitions->access->roles(tenant_of(*definitions, tenant).index);
          },
          py::arg("tenant"))
      .def("access_missing_for_grant", &missing_for_grant, py::arg("tenant"), py::arg("holder"),
           py::arg("role"))
      .def(
          "owns",
          [](const Engine& self, const py::str& tenant, const py::str& type, const py::str& id) {
            const auto definitions = definitions_of(self);
            const TenantEntry* entry = definitions->registry->by_reference(utf8_view(tenant));
            return entry != nullptr &&
                   definitions->registry->owns(entry->index, utf8_view(type), utf8_view(id));
          },
          py::arg("tenant"), py::arg("resource_type"), py::arg("resource_id"))
      .def(
          "effective",
          [](const Engine& self, const py::str& tenant) {
            const auto definitions = definitions_of(self);
            return entitlements_dict(*definitions->catalog,
                                     *tenant_of(*definitions, tenant).entitlements);
          },
          py::arg("tenant"));
}

}  // namespace tenancy
