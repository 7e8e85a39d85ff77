// Verification of a log, and proofs from its files. Nothing here needs a log that is open.
#include <string>
#include <vector>

#include "log_fields.h"
#include "pybind.h"
#include "tenancy/log/log.h"
#include "tenancy/log/verify.h"

namespace tenancy {
namespace {

std::vector<std::string> texts(const py::iterable& items) {
  std::vector<std::string> out;
  for (const py::handle item : items) out.emplace_back(utf8_view(item));
  return out;
}

py::list hash_list(const std::vector<Digest256>& hashes) {
  py::list out;
  for (const Digest256& hash : hashes) out.append(to_bytes(as_view(hash)));
  return out;
}

py::str verify_log(const py::str& directory, const py::str& key, const py::iterable& anchors,
                   int64_t now_ns, const py::str& host_key, const py::str& subjects) {
  log::VerifyOptions options;
  options.log_directory = utf8_view(directory);
  options.key_path = utf8_view(key);
  options.anchors = texts(anchors);
  options.now_ns = now_ns;
  options.host_key_path = utf8_view(host_key);
  options.subjects_path = utf8_view(subjects);
  std::string json;
  {
    const py::gil_scoped_release released;
    json = log::report_json(log::verify(log::Files::system(), options));
  }
  return to_str(json);
}

py::tuple prove(const py::str& directory, const py::str& chain, uint64_t sequence,
                const py::str& note) {
  const std::string path(utf8_view(directory));
  const std::string text(utf8_view(note));
  const log::Position position{log_class_of(chain.ptr()), sequence};
  Result<log::InclusionReceipt> receipt = [&] {
    const py::gil_scoped_release released;
    return log::prove_record(log::Files::system(), path, position, text);
  }();
  const log::InclusionReceipt found = value_or_raise(std::move(receipt));
  return py::make_tuple(to_bytes(found.record), hash_list(found.proof));
}

py::list consistency(const py::str& directory, const py::str& chain, uint64_t from, uint64_t to) {
  const std::string path(utf8_view(directory));
  const log::Class which = log_class_of(chain.ptr());
  Result<std::vector<Digest256>> proof = [&] {
    const py::gil_scoped_release released;
    return log::prove_consistency(log::Files::system(), path, which, from, to);
  }();
  return hash_list(value_or_raise(std::move(proof)));
}

}  // namespace

void bind_log_verify(py::module_& module) {
  module.def("log_verify", &verify_log, py::arg("directory"), py::arg("key"),
             py::arg("anchors") = py::tuple(), py::arg("now_ns") = 0, py::arg("host_key") = "",
             py::arg("subjects") = "");
  module.def("log_prove_record", &prove, py::arg("directory"), py::arg("chain"),
             py::arg("sequence"), py::arg("note"));
  module.def("log_prove_consistency", &consistency, py::arg("directory"), py::arg("chain"),
             py::arg("size_before"), py::arg("size"));
  module.def(
      "log_last_note",
      [](const py::str& directory) {
        return to_str(value_or_raise(
            log::last_note(log::Files::system(), std::string(utf8_view(directory)))));
      },
      py::arg("directory"));
}

}  // namespace tenancy
