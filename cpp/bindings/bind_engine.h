// The parts of the Engine class, one file per area.
#pragma once

#include <memory>

#include "pybind.h"
#include "tenancy/engine/engine.h"

namespace tenancy {

using EngineClass = py::class_<Engine, std::shared_ptr<Engine>>;

// Raises when nothing was applied yet.
std::shared_ptr<const Definitions> definitions_of(const Engine& engine);
// By id, external id or slug; raises CoreError NOT_FOUND.
const TenantEntry& tenant_of(const Definitions& definitions, const py::str& reference);

// {"allowed", "reason", "pattern", "roles", "resource", "until_wall_ns", "nearest_miss"}
py::dict access_path_dict(const AccessPath& path);

void bind_engine_quotas(EngineClass& engine);
void bind_engine_access(EngineClass& engine);

}  // namespace tenancy
