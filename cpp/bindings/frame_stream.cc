// A table of columns as an Arrow stream of one batch.
#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "arrow_capsules.h"
#include "frame_types.h"

namespace tenancy {
namespace {

// One column in the layout of its Arrow type. Shared by everything that is exported of it.
struct Stored {
  std::string name;
  const char* format = "";
  int64_t length = 0;
  int64_t null_count = 0;
  std::vector<uint8_t> validity;
  std::vector<int64_t> numbers;  // values, or the ends of texts
  std::string bytes;
  Amounts amounts;
  std::vector<const void*> buffers;
};

struct StoredTable {
  int64_t length = 0;
  std::vector<std::shared_ptr<Stored>> columns;
};

// --- from Python

class Builder {
 public:
  Builder(Stored* stored, const py::handle& values) : stored_(stored) {
    PyObject* made = PySequence_Fast(values.ptr(), "expected a list of values");
    if (made == nullptr) throw py::error_already_set();
    items_ = py::reinterpret_steal<py::object>(made);
    stored_->length = PySequence_Fast_GET_SIZE(made);
  }

  void wholes() {
    for_each([this](PyObject* item) {
      const int64_t value = PyLong_AsLongLong(item);
      if (value == -1 && PyErr_Occurred() != nullptr) throw py::error_already_set();
      stored_->numbers.push_back(value);
    });
  }
  void doubles() {
    for_each([this](PyObject* item) {
      const double value = PyFloat_AsDouble(item);
      if (value == -1.0 && PyErr_Occurred() != nullptr) throw py::error_already_set();
      int64_t bits;
      std::memcpy(&bits, &value, sizeof bits);
      stored_->numbers.push_back(bits);
    });
  }
  void texts() {
    stored_->numbers.push_back(0);
    for_each([this](PyObject* item) {
      if (item != nullptr) stored_->bytes += utf8_view(item);
      stored_->numbers.push_back(static_cast<int64_t>(stored_->bytes.size()));
    });
  }

 private:
  // Texts have an end for a missing value too; numbers any value.
  template <class Add>
  void for_each(Add add) {
    PyObject** items = PySequence_Fast_ITEMS(items_.ptr());
    for (int64_t i = 0; i < stored_->length; ++i) {
      if (items[i] != Py_None) {
        add(items[i]);
        continue;
      }
      if (stored_->validity.empty()) {
        stored_->validity.assign(static_cast<size_t>((stored_->length + 7) / 8), 0xFF);
      }
      stored_->validity[static_cast<size_t>(i >> 3)] &= static_cast<uint8_t>(~(1U << (i & 7)));
      ++stored_->null_count;
      stored_->numbers.push_back(
          stored_->format[0] == 'U' ? static_cast<int64_t>(stored_->bytes.size()) : 0);
    }
  }

  Stored* stored_;
  py::object items_;
};

void fill_buffers(Stored* stored) {
  stored->buffers.push_back(stored->validity.empty() ? nullptr : stored->validity.data());
  if (stored->format[0] == 'd') {
    const Amounts& amounts = stored->amounts;
    if (amounts.validity != nullptr) stored->buffers[0] = amounts.validity->data();
    stored->buffers.push_back(amounts.units.get());
    return;
  }
  stored->buffers.push_back(stored->numbers.data());
  if (stored->format[0] == 'U') stored->buffers.push_back(stored->bytes.data());
}

std::shared_ptr<Stored> stored_column(const py::handle& name, const std::string& kind,
                                      const py::handle& values) {
  auto stored = std::make_shared<Stored>();
  stored->name = std::string(utf8_view(name));
  if (kind == "decimal") {
    stored->format = "d:38,12";
    stored->amounts = values.cast<const Amounts&>();
    stored->length = stored->amounts.length;
    stored->null_count = stored->amounts.null_count;
  } else if (kind == "int") {
    stored->format = "l";
    Builder(stored.get(), values).wholes();
  } else if (kind == "time") {
    stored->format = "tsn:UTC";
    Builder(stored.get(), values).wholes();
  } else if (kind == "float") {
    stored->format = "g";
    Builder(stored.get(), values).doubles();
  } else {
    stored->format = "U";
    Builder(stored.get(), values).texts();
  }
  fill_buffers(stored.get());
  return stored;
}

// --- to Arrow

struct SchemaHeld {
  std::shared_ptr<const StoredTable> table;
  std::vector<ArrowSchema> children;
  std::vector<ArrowSchema*> pointers;
};

struct ArrayHeld {
  std::shared_ptr<const StoredTable> table;
  std::vector<ArrowArray> children;
  std::vector<ArrowArray*> pointers;
  std::array<const void*, 1> buffers{nullptr};
};

void release_child_schema(ArrowSchema* schema) {
  delete static_cast<std::shared_ptr<const Stored>*>(schema->private_data);
  schema->release = nullptr;
}

void release_child_array(ArrowArray* array) {
  delete static_cast<std::shared_ptr<const Stored>*>(array->private_data);
  array->release = nullptr;
}

// A consumer may have moved a child out; its own release is null then.
template <class Struct, class Held>
void release_table(Struct* parent) {
  auto* held = static_cast<Held*>(parent->private_data);
  for (Struct& child : held->children) {
    if (child.release != nullptr) child.release(&child);
  }
  delete held;
  parent->release = nullptr;
}

void export_schema(const std::shared_ptr<const StoredTable>& table, ArrowSchema* out) {
  constexpr int64_t kNullable = 2;
  auto held = std::make_unique<SchemaHeld>();
  held->table = table;
  for (const std::shared_ptr<Stored>& column : table->columns) {
    held->children.push_back({column->format, column->name.c_str(), nullptr, kNullable, 0, nullptr,
                              nullptr, release_child_schema,
                              new std::shared_ptr<const Stored>(column)});
  }
  for (ArrowSchema& child : held->children) held->pointers.push_back(&child);
  const auto count = static_cast<int64_t>(held->children.size());
  *out = {"+s",    "",
          nullptr, 0,
          count,   held->pointers.data(),
          nullptr, release_table<ArrowSchema, SchemaHeld>,
          nullptr};
  out->private_data = held.release();
}

void export_array(const std::shared_ptr<const StoredTable>& table, ArrowArray* out) {
  auto held = std::make_unique<ArrayHeld>();
  held->table = table;
  for (const std::shared_ptr<Stored>& column : table->columns) {
    held->children.push_back({column->length, column->null_count, 0,
                              static_cast<int64_t>(column->buffers.size()), 0,
                              column->buffers.data(), nullptr, nullptr, release_child_array,
                              new std::shared_ptr<const Stored>(column)});
  }
  for (ArrowArray& child : held->children) held->pointers.push_back(&child);
  const auto count = static_cast<int64_t>(held->children.size());
  *out = {table->length,
          0,
          0,
          1,
          count,
          held->buffers.data(),
          held->pointers.data(),
          nullptr,
          release_table<ArrowArray, ArrayHeld>,
          nullptr};
  out->private_data = held.release();
}

struct StreamHeld {
  std::shared_ptr<const StoredTable> table;
  bool done = false;
};

StreamHeld* held_by(ArrowArrayStream* stream) {
  return static_cast<StreamHeld*>(stream->private_data);
}

int stream_schema(ArrowArrayStream* stream, ArrowSchema* out) {
  export_schema(held_by(stream)->table, out);
  return 0;
}

int stream_next(ArrowArrayStream* stream, ArrowArray* out) {
  StreamHeld* held = held_by(stream);
  if (held->done) {
    *out = {};
    return 0;
  }
  held->done = true;
  export_array(held->table, out);
  return 0;
}

const char* stream_error(ArrowArrayStream*) { return nullptr; }

void release_stream(ArrowArrayStream* stream) {
  delete held_by(stream);
  stream->release = nullptr;
}

py::capsule arrow_stream(const py::list& columns) {
  auto table = std::make_shared<StoredTable>();
  for (const py::handle each : columns) {
    const auto column = py::reinterpret_borrow<py::tuple>(each);
    table->columns.push_back(stored_column(column[0], py::cast<std::string>(column[1]), column[2]));
    table->length = table->columns.front()->length;
    if (table->columns.back()->length != table->length) {
      raise_invalid(table->columns.back()->name.c_str(),
                    {Code::kInvalidArgument, "is not as long as the first column"});
    }
  }
  auto stream = std::make_unique<ArrowArrayStream>();
  *stream = {stream_schema, stream_next, stream_error, release_stream, new StreamHeld{table}};
  return capsule_of(std::move(stream), "arrow_array_stream");
}

}  // namespace

void bind_frame_stream(py::module_& module) {
  module.def("arrow_stream", &arrow_stream, py::arg("columns"));
}

}  // namespace tenancy
