// The segments of a log: which there are, what is in one, and taking records out of it for good.
#include <set>
#include <string>

#include "log_fields.h"
#include "pybind.h"
#include "tenancy/log/log.h"
#include "tenancy/log/segment_files.h"

namespace tenancy {
namespace {

py::object sequence_or_none(uint64_t sequence) {
  if (sequence == log::kNoSequence) return py::none();
  return py::int_(sequence);
}

py::dict kept(const py::str& directory) {
  const auto from =
      value_or_raise(log::kept_from(log::Files::system(), std::string(utf8_view(directory))));
  py::dict out;
  for (size_t i = 0; i < log::kClasses; ++i) out[to_str(log::kClassNames[i])] = from[i];
  return out;
}

py::list segments(const py::str& directory, const py::str& chain) {
  const std::string path(utf8_view(directory));
  const log::Class which = log_class_of(chain.ptr());
  auto found = [&] {
    const py::gil_scoped_release released;
    return log::segments_of(log::Files::system(), path, which);
  }();
  py::list out;
  for (const log::SegmentSpan& span : value_or_raise(std::move(found))) {
    py::object bytes = py::none();
    py::object hash = py::none();
    if (span.pruned) {
      bytes = py::int_(span.bytes);
      hash = to_bytes(as_view(span.stub_hash));
    }
    out.append(py::make_tuple(span.first, sequence_or_none(span.end), span.pruned, bytes, hash));
  }
  return out;
}

py::tuple segment_content(const py::str& directory, const py::str& chain, uint64_t first,
                          const py::object& end, const py::iterable& tenants) {
  const std::string path(utf8_view(directory));
  const log::Class which = log_class_of(chain.ptr());
  std::set<std::string, std::less<>> wanted;
  for (const py::handle tenant : tenants) wanted.emplace(utf8_view(tenant));
  log::SegmentSpan span;
  span.first = first;
  span.end = end.is_none() ? log::kNoSequence : end.cast<uint64_t>();
  auto found = [&] {
    const py::gil_scoped_release released;
    return log::segment_content(log::Files::system(), path, which, span, wanted);
  }();
  const log::SegmentContent content = value_or_raise(std::move(found));
  py::list names;
  for (const std::string& tenant : content.tenants) names.append(to_str(tenant));
  return py::make_tuple(content.records, content.events, content.first_time_ns,
                        content.last_time_ns, names);
}

}  // namespace

py::dict prune_log(log::Log& self, const py::str& chain, uint64_t before) {
  const log::Class which = log_class_of(chain.ptr());
  auto done = [&] {
    const py::gil_scoped_release released;
    return self.prune(which, before);
  }();
  const log::PruneResult result = value_or_raise(std::move(done));
  py::list pruned;
  for (const log::PrunedSegment& segment : result.segments) {
    pruned.append(py::make_tuple(segment.first, segment.end, segment.bytes,
                                 to_bytes(as_view(segment.stub_hash))));
  }
  py::dict out;
  out["kept_from"] = result.kept_from;
  out["record"] = sequence_or_none(result.record);
  out["segments"] = pruned;
  return out;
}

void bind_log_segments(py::module_& module) {
  module.def("log_kept_from", &kept, py::arg("directory"));
  module.def("log_segments", &segments, py::arg("directory"), py::arg("chain"));
  module.def("log_segment_content", &segment_content, py::arg("directory"), py::arg("chain"),
             py::arg("first"), py::arg("end") = py::none(), py::arg("tenants") = py::tuple());
}

}  // namespace tenancy
