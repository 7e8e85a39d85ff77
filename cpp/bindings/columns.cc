// Anything array-like as a Column: Arrow by its capsules, buffers, pandas, lists.
#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "arrow_capsules.h"
#include "pricing_types.h"
#include "tenancy/billing/interner.h"
#include "tenancy/billing/number_interner.h"

namespace tenancy {
namespace {

[[noreturn]] void refuse(const char* field, std::string message) {
  raise_invalid(field, {Code::kInvalidArgument, std::move(message)});
}

[[noreturn]] void refuse_floats(const char* field) {
  refuse(field,
         "got binary floating point, which cannot hold most decimal numbers; give int64, "
         "decimal128 or Decimal objects: round first, then .astype(\"int64\") or "
         ".cast(pyarrow.decimal128(38, 12))");
}

[[noreturn]] void refuse_text(const char* field, int64_t index) {
  refuse(field, "element " + std::to_string(index) + ": a text that is no valid Unicode");
}

// --- Arrow

void append(Column* column, ArrowArray* array, const char* field) {
  const std::shared_ptr<const ArrowArray> owned = take_array(array);
  const Status status = column->append(*owned, owned);
  if (!status.ok()) raise_invalid(field, status.error());
}

Column column_of_schema(const ArrowSchema& schema, const char* field) {
  const std::string_view format = schema.format == nullptr ? "" : schema.format;
  if (format == "+s") refuse(field, "got a table; give one of its columns");
  return value_or_invalid(Column::of_schema(schema), field);
}

Column column_of_array(const py::handle& values, const char* field) {
  const py::tuple capsules = values.attr("__arrow_c_array__")();
  if (capsules.size() != 2) refuse(field, "__arrow_c_array__ gave no pair of capsules");
  const auto* schema = from_capsule<ArrowSchema>(capsules[0], "arrow_schema", field);
  auto* array = from_capsule<ArrowArray>(capsules[1], "arrow_array", field);
  Column column = column_of_schema(*schema, field);
  append(&column, array, field);
  return column;
}

Column column_of_stream(const py::handle& values, const char* field) {
  const py::object capsule = values.attr("__arrow_c_stream__")();
  auto* stream = from_capsule<ArrowArrayStream>(capsule, "arrow_array_stream", field);
  ArrowSchema schema{};
  check_stream(stream->get_schema(stream, &schema), stream, field);
  const std::shared_ptr<ArrowSchema> schema_owner(&schema, [](ArrowSchema* each) {
    if (each->release != nullptr) each->release(each);
  });
  Column column = column_of_schema(schema, field);
  while (true) {
    ArrowArray array{};
    check_stream(stream->get_next(stream, &array), stream, field);
    if (array.release == nullptr) return column;
    append(&column, &array, field);
  }
}

// --- texts

// Texts one after the other, as Arrow's large_utf8 has them.
class TextBuilder {
 public:
  void add(std::string_view text) {
    bytes_ += text;
    ends_.push_back(static_cast<int64_t>(bytes_.size()));
  }
  Column column() && {
    auto owner = std::make_shared<std::pair<std::vector<int64_t>, std::string>>(std::move(ends_),
                                                                                std::move(bytes_));
    const auto length = static_cast<int64_t>(owner->first.size()) - 1;
    return Column::of_texts(owner->first.data(), owner->second.data(), length, owner);
  }

 private:
  std::vector<int64_t> ends_{0};
  std::string bytes_;
};

void append_utf8(uint32_t point, std::string* out) {
  const auto put = [out](uint32_t byte) { *out += static_cast<char>(byte); };
  if (point < 0x80) {
    put(point);
  } else if (point < 0x800) {
    put(0xC0 | point >> 6);
    put(0x80 | (point & 0x3F));
  } else if (point < 0x10000) {
    put(0xE0 | point >> 12);
    put(0x80 | (point >> 6 & 0x3F));
    put(0x80 | (point & 0x3F));
  } else {
    put(0xF0 | point >> 18);
    put(0x80 | (point >> 12 & 0x3F));
    put(0x80 | (point >> 6 & 0x3F));
    put(0x80 | (point & 0x3F));
  }
}

// NumPy's fixed-width texts: code points of four bytes, filled up with zeros.
Column column_of_points(const char* data, int64_t count, int64_t itemsize, const char* field) {
  TextBuilder builder;
  std::string text;
  for (int64_t i = 0; i < count; ++i) {
    text.clear();
    for (int64_t at = 0; at < itemsize; at += 4) {
      uint32_t point;
      std::memcpy(&point, data + i * itemsize + at, sizeof point);
      if (point == 0) break;
      if ((point >= 0xD800 && point < 0xE000) || point > 0x10FFFF) refuse_text(field, i);
      append_utf8(point, &text);
    }
    builder.add(text);
  }
  return std::move(builder).column();
}

// --- Python objects

std::string_view text_of(PyObject* item, int64_t index, const char* field) {
  if (PyUnicode_Check(item) == 0) {
    refuse(field, "element " + std::to_string(index) + ": expected str like those before it, got " +
                      Py_TYPE(item)->tp_name);
  }
  Py_ssize_t size = 0;
  const char* text = PyUnicode_AsUTF8AndSize(item, &size);
  if (text == nullptr) {
    PyErr_Clear();
    refuse_text(field, index);
  }
  return {text, static_cast<size_t>(size)};
}

// Texts that come again and again, by their positions in a dictionary. An array of them holds the
// same objects again and again: what is looked up is mostly the object and not its text.
class TextCoder {
 public:
  TextCoder(PyObject* const* items, int64_t count, const char* field)
      : items_(items), count_(count), field_(field) {}

  // Nothing where too few of the texts come again.
  std::optional<Column> column() {
    codes_->reserve(static_cast<size_t>(count_));
    for (int64_t at = 0; at < count_; at += kBlock) {
      const int64_t some = std::min(kBlock, count_ - at);
      if (objects_.ids().size() > kObjectsMax) forget_objects();
      add(at, some);
      const auto distinct = static_cast<int64_t>(texts_.ids().size());
      if (distinct > kDistinctMin && distinct * kRepeatsMin > at + some) return std::nullopt;
    }
    TextBuilder builder;
    for (const std::string_view text : texts_.ids()) builder.add(text);
    const auto dictionary = std::make_shared<const Column>(std::move(builder).column());
    return Column::of_codes(codes_->data(), count_, dictionary, codes_);
  }

 private:
  static constexpr int64_t kBlock = 1024;
  static constexpr size_t kObjectsMax = 1 << 17;
  static constexpr int64_t kDistinctMin = 1 << 16;
  static constexpr int64_t kRepeatsMin = 4;

  void add(int64_t at, int64_t count) {
    std::array<int64_t, kBlock> block;
    for (int64_t i = 0; i < count; ++i) {
      block[static_cast<size_t>(i)] = reinterpret_cast<intptr_t>(items_[at + i]);
    }
    objects_.positions(block.data(), count, 0, block.data());
    for (int64_t i = 0; i < count; ++i) {
      const auto object = static_cast<size_t>(block[static_cast<size_t>(i)]);
      if (object == code_of_object_.size()) {
        const int64_t code = texts_.position(text_of(items_[at + i], at + i, field_));
        code_of_object_.push_back(static_cast<int32_t>(code));
      }
      codes_->push_back(code_of_object_[object]);
    }
  }

  void forget_objects() {
    objects_ = NumberInterner();
    code_of_object_.clear();
  }

  PyObject* const* items_;
  int64_t count_;
  const char* field_;
  NumberInterner
      objects_;  // by address: all of them live as long as the interpreter's lock is held
  std::vector<int32_t> code_of_object_;
  TextInterner texts_;
  std::shared_ptr<std::vector<int32_t>> codes_ = std::make_shared<std::vector<int32_t>>();
};

Column column_of_texts(PyObject* const* items, int64_t count, const char* field) {
  if (std::optional<Column> coded = TextCoder(items, count, field).column()) return *coded;
  TextBuilder builder;
  for (int64_t i = 0; i < count; ++i) builder.add(text_of(items[i], i, field));
  return std::move(builder).column();
}

// False where an item is no int of 64 bits.
bool read_ints(PyObject* const* items, int64_t count, std::vector<int64_t>* out) {
  out->reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    if (PyLong_CheckExact(items[i]) == 0) return false;
    int overflow = 0;
    out->push_back(PyLong_AsLongLongAndOverflow(items[i], &overflow));
    if (overflow != 0) return false;
  }
  return true;
}

Column column_of_objects(PyObject* const* items, int64_t count, const char* field, ColumnUse use) {
  if (use == ColumnUse::kIds && count > 0 && PyUnicode_Check(items[0]) != 0) {
    return column_of_texts(items, count, field);
  }
  auto wholes = std::make_shared<std::vector<int64_t>>();
  if (read_ints(items, count, wholes.get())) {
    return Column::of_wholes(wholes->data(), 8, true, count, wholes);
  }
  if (use == ColumnUse::kIds) {
    const auto at = wholes->empty() ? size_t{0} : wholes->size() - 1;
    refuse(field, "expected str or int of at most 64 bits, got something else at element " +
                      std::to_string(at) + " or after it");
  }
  auto units = std::make_shared<std::vector<Int128>>(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const std::string place = std::string(field) + "[" + std::to_string(i) + "]";
    Decimal value;
    if (!read_decimal(items[i], place.c_str(), &value)) throw py::error_already_set();
    (*units)[static_cast<size_t>(i)] = value.units();
  }
  return Column::of_units(units->data(), count, units);
}

Column column_of_sequence(const py::handle& values, const char* field, ColumnUse use) {
  PyObject* made = PySequence_Fast(values.ptr(), "");
  if (made == nullptr) {
    PyErr_Clear();
    refuse(field, std::string("expected an array (NumPy, Arrow, pandas, polars) or a list, got ") +
                      Py_TYPE(values.ptr())->tp_name);
  }
  const auto items = py::reinterpret_steal<py::object>(made);
  return column_of_objects(PySequence_Fast_ITEMS(made), PySequence_Fast_GET_SIZE(made), field, use);
}

// --- buffers

struct BufferRelease {
  void operator()(Py_buffer* view) const {
    PyBuffer_Release(view);
    delete view;
  }
};

// The values one after the other: where they lie, or a copy of strided ones.
const char* contiguous(const std::shared_ptr<Py_buffer>& view, std::shared_ptr<const void>* owner) {
  *owner = view;
  if (PyBuffer_IsContiguous(view.get(), 'C') != 0) return static_cast<const char*>(view->buf);
  auto copy = std::make_shared<std::vector<char>>(static_cast<size_t>(view->len));
  if (PyBuffer_ToContiguous(copy->data(), view.get(), view->len, 'C') != 0) {
    throw py::error_already_set();
  }
  *owner = copy;
  return copy->data();
}

Column column_of_buffer(const std::shared_ptr<Py_buffer>& view, const char* field, ColumnUse use) {
  if (view->ndim != 1) {
    refuse(field, "expected one dimension, got " + std::to_string(view->ndim));
  }
  std::string_view format = view->format == nullptr ? "B" : view->format;
  if (!format.empty() &&
      (format.front() == '<' || format.front() == '=' || format.front() == '@')) {
    format.remove_prefix(1);
  }
  std::shared_ptr<const void> owner;
  const char* data = contiguous(view, &owner);
  const int64_t count = view->shape[0];
  if (format.size() == 1 && std::string_view("bhilq").find(format) != format.npos) {
    return Column::of_wholes(data, static_cast<int>(view->itemsize), true, count, owner);
  }
  if (format.size() == 1 && std::string_view("BHILQ").find(format) != format.npos) {
    return Column::of_wholes(data, static_cast<int>(view->itemsize), false, count, owner);
  }
  if (format == "e" || format == "f" || format == "d" || format == "g") refuse_floats(field);
  if (format == "O") {
    return column_of_objects(reinterpret_cast<PyObject* const*>(data), count, field, use);
  }
  if (format.ends_with('w') && use == ColumnUse::kIds) {
    return column_of_points(data, count, view->itemsize, field);
  }
  refuse(field, "elements of the type \"" + std::string(format) +
                    "\" are not read; expected int64, decimal128, Decimal or (for ids) texts");
}

std::shared_ptr<Py_buffer> buffer_of(const py::handle& values) {
  auto view = std::make_unique<Py_buffer>();
  if (PyObject_GetBuffer(values.ptr(), view.get(), PyBUF_FORMAT | PyBUF_STRIDES) != 0) {
    PyErr_Clear();
    return nullptr;
  }
  return {view.release(), BufferRelease()};
}

}  // namespace

Column column_of(const py::handle& values, const char* field, ColumnUse use) {
  if (PyUnicode_Check(values.ptr()) != 0 || PyBytes_Check(values.ptr()) != 0) {
    refuse(field, "expected an array or a list, got a text");
  }
  if (py::hasattr(values, "__arrow_c_array__")) return column_of_array(values, field);
  if (py::hasattr(values, "__arrow_c_stream__")) return column_of_stream(values, field);
  if (PyObject_CheckBuffer(values.ptr()) != 0) {
    if (const std::shared_ptr<Py_buffer> view = buffer_of(values)) {
      return column_of_buffer(view, field, use);
    }
  }
  // A series of pandas: what lies under it.
  if (py::hasattr(values, "to_numpy")) {
    const py::object array = values.attr("to_numpy")();
    if (const std::shared_ptr<Py_buffer> view = buffer_of(array)) {
      return column_of_buffer(view, field, use);
    }
  }
  return column_of_sequence(values, field, use);
}

}  // namespace tenancy
