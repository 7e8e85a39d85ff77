#include "tenancy/billing/column.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include "tenancy/base/decimal.h"

namespace tenancy {

namespace {

constexpr int64_t kViewBytes = 16;

bool bit_at(const uint8_t* bits, int64_t at) { return ((bits[at >> 3] >> (at & 7)) & 1) != 0; }

// Buffers need not be aligned to their values: everything is copied out of them.
template <class T>
T value_at(const void* data, int64_t at) {
  T value;
  std::memcpy(&value, static_cast<const char*>(data) + at * static_cast<int64_t>(sizeof(T)),
              sizeof value);
  return value;
}

template <class T>
void widen(const void* data, int64_t begin, int64_t count, int64_t* out) {
  // NOLINTNEXTLINE(bugprone-signed-char-misuse): an int8 column is numbers, its sign counts
  for (int64_t i = 0; i < count; ++i) out[i] = static_cast<int64_t>(value_at<T>(data, begin + i));
}

// 64 bits without a sign come out as their bit pattern.
void widen(const void* data, int width, bool is_signed, int64_t begin, int64_t count,
           int64_t* out) {
  switch (width) {
    case 1:
      return is_signed ? widen<int8_t>(data, begin, count, out)
                       : widen<uint8_t>(data, begin, count, out);
    case 2:
      return is_signed ? widen<int16_t>(data, begin, count, out)
                       : widen<uint16_t>(data, begin, count, out);
    case 4:
      return is_signed ? widen<int32_t>(data, begin, count, out)
                       : widen<uint32_t>(data, begin, count, out);
    default: widen<int64_t>(data, begin, count, out);
  }
}

// Texts by their ends: that of one is where the next begins.
template <class End>
void read_by_ends(const void* ends, const char* bytes, int64_t at, int64_t count,
                  std::string_view* out) {
  End begin = value_at<End>(ends, at);
  for (int64_t i = 0; i < count; ++i) {
    const End end = value_at<End>(ends, at + i + 1);
    out[i] = {bytes + begin, static_cast<size_t>(end - begin)};
    begin = end;
  }
}

struct WholeFormat {
  char format;
  int width;
  bool is_signed;
};

constexpr std::array<WholeFormat, 8> kWholeFormats{{{'c', 1, true},
                                                    {'C', 1, false},
                                                    {'s', 2, true},
                                                    {'S', 2, false},
                                                    {'i', 4, true},
                                                    {'I', 4, false},
                                                    {'l', 8, true},
                                                    {'L', 8, false}}};

// "d:38,12" or "d:38,12,128"; the scale, or nothing for other widths.
std::optional<int> decimal_scale(std::string_view format) {
  if (!format.starts_with("d:")) return std::nullopt;
  const size_t comma = format.find(',');
  if (comma == format.npos) return std::nullopt;
  std::string_view rest = format.substr(comma + 1);
  const size_t next = rest.find(',');
  if (next != rest.npos) {
    if (rest.substr(next + 1) != "128") return std::nullopt;
    rest = rest.substr(0, next);
  }
  int scale = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), scale);
  constexpr int kScaleMax = 38;
  if (error != std::errc() || end != rest.data() + rest.size()) return std::nullopt;
  return scale < -kScaleMax || scale > kScaleMax ? std::nullopt : std::optional<int>(scale);
}

Error unsupported(std::string_view format) {
  const bool is_float = format == "g" || format == "f" || format == "e";
  std::string message = "Arrow type \"" + std::string(format.substr(0, 40)) + "\" ";
  message += is_float ? "is binary floating point, which cannot hold most decimal numbers: cast to "
                        "int64 or decimal128"
                      : "is not read: cast to int64, decimal128 or string";
  return {Code::kUnsupported, std::move(message)};
}

}  // namespace

Result<Column> Column::of_schema(const ArrowSchema& schema) {
  Column column;
  const std::string_view format = schema.format == nullptr ? "" : schema.format;
  const auto whole = std::ranges::find_if(kWholeFormats, [&](const WholeFormat& each) {
    return format.size() == 1 && format.front() == each.format;
  });
  if (whole != kWholeFormats.end()) {
    column.width_ = whole->width;
    column.signed_ = whole->is_signed;
    if (schema.dictionary == nullptr) return column;
    Result<Column> inner = of_schema(*schema.dictionary);
    if (!inner.ok()) return inner;
    if (inner->kind_ != Kind::kText || inner->dictionary_) return unsupported("dictionary");
    column.kind_ = Kind::kText;
    column.dictionary_ = true;
    column.dictionary_type_ = std::make_shared<const Column>(std::move(inner).value());
    return column;
  }
  if (schema.dictionary != nullptr) return unsupported(format);
  if (const std::optional<int> scale = decimal_scale(format)) {
    column.kind_ = Kind::kDecimal;
    column.scale_ = *scale;
    return column;
  }
  column.kind_ = Kind::kText;
  if (format == "u") column.layout_ = Layout::kText32;
  if (format == "U") column.layout_ = Layout::kText64;
  if (format == "vu") column.layout_ = Layout::kTextView;
  if (column.layout_ == Layout::kInline) return unsupported(format);
  return column;
}

Column Column::of_wholes(const void* data, int width, bool is_signed, int64_t length,
                         std::shared_ptr<const void> owner) {
  Column column;
  column.width_ = width;
  column.signed_ = is_signed;
  column.length_ = length;
  Chunk chunk;
  chunk.length = length;
  chunk.data = data;
  column.chunks_.push_back(std::move(chunk));
  column.owners_.push_back(std::move(owner));
  return column;
}

Column Column::of_units(const Int128* units, int64_t length, std::shared_ptr<const void> owner) {
  Column column = of_wholes(units, 16, true, length, std::move(owner));
  column.kind_ = Kind::kDecimal;
  column.scale_ = Decimal::kDigits;
  return column;
}

Column Column::of_texts(const int64_t* ends, const char* bytes, int64_t length,
                        std::shared_ptr<const void> owner) {
  Column column = of_wholes(ends, 8, true, length, std::move(owner));
  column.kind_ = Kind::kText;
  column.layout_ = Layout::kText64;
  column.chunks_.front().bytes = bytes;
  return column;
}

Column Column::of_codes(const int32_t* codes, int64_t length,
                        std::shared_ptr<const Column> dictionary,
                        std::shared_ptr<const void> owner) {
  Column column = of_wholes(codes, sizeof(int32_t), true, length, std::move(owner));
  column.kind_ = Kind::kText;
  column.dictionary_ = true;
  column.dictionary_type_ = dictionary;
  column.chunks_.front().dictionary = std::move(dictionary);
  return column;
}

Status Column::append(const ArrowArray& array, std::shared_ptr<const void> owner) {
  const bool text = kind_ == Kind::kText && !dictionary_;
  const int64_t buffers = text ? 3 : 2;
  if (array.length < 0 || array.offset < 0 || array.n_buffers < buffers) {
    return {Code::kInvalidArgument, "the Arrow array contradicts its own type"};
  }
  if (array.length == 0) return {};
  Chunk chunk;
  chunk.begin = length_;
  chunk.length = array.length;
  chunk.offset = array.offset;
  if (array.null_count != 0) chunk.validity = static_cast<const uint8_t*>(array.buffers[0]);
  chunk.data = array.buffers[1];
  if (chunk.data == nullptr) {
    return {Code::kInvalidArgument, "the Arrow array has no buffer of values"};
  }
  if (layout_ == Layout::kTextView) {
    chunk.view_buffers = array.buffers + 2;
  } else if (text) {
    chunk.bytes = static_cast<const char*>(array.buffers[2]);
  }
  if (dictionary_) {
    if (array.dictionary == nullptr) {
      return {Code::kInvalidArgument, "the Arrow array has codes without a dictionary"};
    }
    Column inner = *dictionary_type_;
    const Status appended = inner.append(*array.dictionary, nullptr);
    if (!appended.ok()) return appended;
    if (inner.first_null()) {
      return {Code::kInvalidArgument,
              "the dictionary of the Arrow array has a null among its texts"};
    }
    chunk.dictionary = std::make_shared<const Column>(std::move(inner));
  }
  length_ += array.length;
  chunks_.push_back(std::move(chunk));
  owners_.push_back(std::move(owner));
  return {};
}

size_t Column::chunk_of(int64_t index) const {
  const auto after = std::ranges::upper_bound(chunks_, index, {}, &Chunk::begin);
  return static_cast<size_t>(after - chunks_.begin()) - 1;
}

// Calls read(chunk, position in its buffers, count, how many were read before).
template <class Read>
void Column::for_each_part(int64_t begin, int64_t count, Read read) const {
  if (count == 0) return;
  size_t at = chunk_of(begin);
  for (int64_t done = 0; done < count; ++at) {
    const Chunk& chunk = chunks_[at];
    const int64_t inside = begin + done - chunk.begin;
    const int64_t part = std::min(count - done, chunk.length - inside);
    read(chunk, chunk.offset + inside, part, done);
    done += part;
  }
}

bool Column::is_null(int64_t index) const {
  const Chunk& chunk = chunks_[chunk_of(index)];
  if (chunk.validity == nullptr) return false;
  return !bit_at(chunk.validity, chunk.offset + index - chunk.begin);
}

std::optional<int64_t> Column::first_null() const {
  for (const Chunk& chunk : chunks_) {
    if (chunk.validity == nullptr) continue;
    for (int64_t i = 0; i < chunk.length; ++i) {
      if (!bit_at(chunk.validity, chunk.offset + i)) return chunk.begin + i;
    }
  }
  return std::nullopt;
}

void Column::read_codes(int64_t begin, int64_t count, int64_t* out) const {
  for_each_part(begin, count, [&](const Chunk& chunk, int64_t at, int64_t part, int64_t done) {
    widen(chunk.data, width_, signed_, at, part, out + done);
  });
}

bool Column::read_wholes(int64_t begin, int64_t count, int64_t* out) const {
  read_codes(begin, count, out);
  if (signed_ || width_ < 8) return true;
  int64_t all = 0;
  for (int64_t i = 0; i < count; ++i) all |= out[i];
  return all >= 0;
}

bool Column::repeats(int64_t begin, int64_t count) const {
  if (count == 0 || layout_ != Layout::kInline) return false;
  const Chunk& chunk = chunks_[chunk_of(begin)];
  const int64_t inside = begin - chunk.begin;
  if (inside + count > chunk.length) return false;
  const char* first = static_cast<const char*>(chunk.data) + (chunk.offset + inside) * width_;
  return std::memcmp(first, first + width_, static_cast<size_t>((count - 1) * width_)) == 0;
}

const int64_t* Column::wholes_at(int64_t begin, int64_t count) const {
  if (kind_ != Kind::kWhole || width_ != 8 || !signed_ || count == 0) return nullptr;
  const Chunk& chunk = chunks_[chunk_of(begin)];
  const int64_t inside = begin - chunk.begin;
  if (inside + count > chunk.length) return nullptr;
  const auto* found = static_cast<const int64_t*>(chunk.data) + chunk.offset + inside;
  return reinterpret_cast<uintptr_t>(found) % alignof(int64_t) == 0 ? found : nullptr;
}

int64_t Column::read_units(int64_t begin, int64_t count, Int128* out) const {
  if (kind_ == Kind::kWhole) {
    for_each_part(begin, count, [&](const Chunk& chunk, int64_t at, int64_t part, int64_t done) {
      constexpr int64_t kBlock = 256;
      std::array<int64_t, kBlock> block;
      for (int64_t i = 0; i < part; i += kBlock) {
        const int64_t some = std::min(kBlock, part - i);
        widen(chunk.data, width_, signed_, at + i, some, block.data());
        for (int64_t j = 0; j < some; ++j) {
          const Int128 value = !signed_ && width_ == 8
                                   ? Int128{static_cast<uint64_t>(block[static_cast<size_t>(j)])}
                                   : Int128{block[static_cast<size_t>(j)]};
          out[done + i + j] = value * Decimal::kOne;
        }
      }
    });
    return -1;
  }
  // One step of ten at a time would divide 38 times: the factor is made once.
  const int shift = Decimal::kDigits - scale_;
  Int128 factor = 1;
  for (int i = 0; i < std::min(std::abs(shift), 38); ++i) factor *= 10;
  int64_t bad = -1;
  for_each_part(begin, count, [&](const Chunk& chunk, int64_t at, int64_t part, int64_t done) {
    for (int64_t i = 0; i < part; ++i) {
      auto value = value_at<Int128>(chunk.data, at + i);
      bool good = true;
      if (shift > 0 && value != 0) {
        good = shift <= 38 && !__builtin_mul_overflow(value, factor, &value);
      } else if (shift < 0) {
        good = value % factor == 0;
        value /= factor;
      }
      good = good && value <= Decimal::kUnitsMax && value >= -Decimal::kUnitsMax;
      out[done + i] = value;
      // A missing value may be any bits.
      const bool missing = chunk.validity != nullptr && !bit_at(chunk.validity, at + i);
      if (missing) out[done + i] = 0;
      if (!good && !missing && bad < 0) bad = begin + done + i;
    }
  });
  return bad;
}

std::string_view Column::text_in(const Chunk& chunk, int64_t at) const {
  if (layout_ == Layout::kText32) {
    const auto begin = value_at<int32_t>(chunk.data, at);
    return {chunk.bytes + begin,
            static_cast<size_t>(value_at<int32_t>(chunk.data, at + 1) - begin)};
  }
  if (layout_ == Layout::kText64) {
    const auto begin = value_at<int64_t>(chunk.data, at);
    return {chunk.bytes + begin,
            static_cast<size_t>(value_at<int64_t>(chunk.data, at + 1) - begin)};
  }
  // A view: length, then the text itself, or four bytes of it, its buffer and where it begins
  // there.
  constexpr int32_t kInlineMax = 12;
  const char* view = static_cast<const char*>(chunk.data) + at * kViewBytes;
  std::array<int32_t, 4> parts;
  std::memcpy(parts.data(), view, sizeof parts);
  const auto size = static_cast<size_t>(parts[0]);
  if (parts[0] <= kInlineMax) return {view + sizeof(int32_t), size};
  return {static_cast<const char*>(chunk.view_buffers[parts[2]]) + parts[3], size};
}

void Column::read_texts(int64_t begin, int64_t count, std::string_view* out) const {
  for_each_part(begin, count, [&](const Chunk& chunk, int64_t at, int64_t part, int64_t done) {
    if (layout_ == Layout::kText32) {
      read_by_ends<int32_t>(chunk.data, chunk.bytes, at, part, out + done);
    } else if (layout_ == Layout::kText64) {
      read_by_ends<int64_t>(chunk.data, chunk.bytes, at, part, out + done);
    } else {
      for (int64_t i = 0; i < part; ++i) out[done + i] = text_in(chunk, at + i);
    }
  });
}

std::array<std::span<const char>, 2> Column::memory_at(int64_t begin, int64_t count) const {
  if (count == 0) return {};
  const Chunk& chunk = chunks_[chunk_of(begin)];
  const int64_t inside = begin - chunk.begin;
  const int64_t some = std::min(count, chunk.length - inside);
  const int64_t at = chunk.offset + inside;
  // Texts have a width too: that of their ends or views.
  int64_t width = width_;
  if (kind_ == Kind::kDecimal) width = sizeof(Int128);
  if (layout_ == Layout::kText32) width = sizeof(int32_t);
  if (layout_ == Layout::kTextView) width = kViewBytes;
  const char* values = static_cast<const char*>(chunk.data) + at * width;
  const std::span<const char> all(values, static_cast<size_t>(some * width));
  const int64_t before = std::min(inside, count);
  if ((layout_ != Layout::kText32 && layout_ != Layout::kText64) || before == 0) return {all};
  // Where the last of them ends is not known without waiting for it.
  const char* first = text_in(chunk, at).data();
  return {all, {first, static_cast<size_t>(first - text_in(chunk, at - before).data())}};
}

int64_t Column::chunk_end(int64_t index) const {
  const Chunk& chunk = chunks_[chunk_of(index)];
  return chunk.begin + chunk.length;
}

std::vector<std::string_view> Column::dictionary_texts(int64_t begin) const {
  const Column& texts = *chunks_[chunk_of(begin)].dictionary;
  std::vector<std::string_view> result(static_cast<size_t>(texts.length()));
  texts.read_texts(0, texts.length(), result.data());
  return result;
}

}  // namespace tenancy
