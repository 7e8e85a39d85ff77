// Column: values that lie in somebody else's memory, in one or several chunks, seen as whole
// numbers, decimals or texts.
//
// Made over an Arrow array of whole numbers (8 to 64 bits), decimal128, text (utf8, large utf8,
// utf8 view) or a dictionary of text, or over a plain buffer. A bit may say that a value is
// missing.
//
// Ownership: borrows the memory, and keeps `owner` alive as long as it lives. Thread safety:
// immutable, read from any thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tenancy/base/int128.h"
#include "tenancy/base/status.h"
#include "tenancy/billing/arrow.h"

namespace tenancy {

class Column {
 public:
  enum class Kind : uint8_t { kWhole = 0, kDecimal, kText };

  // An empty column of the type that an Arrow schema describes; chunks are appended to it.
  // kUnsupported names the type and the remedy.
  static Result<Column> of_schema(const ArrowSchema& schema);
  // Whole numbers of 1, 2, 4 or 8 bytes, one after the other.
  static Column of_wholes(const void* data, int width, bool is_signed, int64_t length,
                          std::shared_ptr<const void> owner);
  // Units of 1e-12, as decimal128(38, 12) holds them.
  static Column of_units(const Int128* units, int64_t length, std::shared_ptr<const void> owner);
  // Texts by 64-bit ends: value i is bytes[ends[i] .. ends[i + 1]].
  static Column of_texts(const int64_t* ends, const char* bytes, int64_t length,
                         std::shared_ptr<const void> owner);

  // Texts by their positions in a column of texts, which has no nulls.
  static Column of_codes(const int32_t* codes, int64_t length,
                         std::shared_ptr<const Column> dictionary,
                         std::shared_ptr<const void> owner);

  // kInvalidArgument when the array contradicts itself.
  Status append(const ArrowArray& array, std::shared_ptr<const void> owner);

  Kind kind() const { return kind_; }
  int64_t length() const { return length_; }
  bool has_dictionary() const { return dictionary_; }
  // The first index without a value, or nothing.
  std::optional<int64_t> first_null() const;
  bool is_null(int64_t index) const;

  // All of these read values [begin, begin + count), which need not be in one chunk.
  //
  // Whole numbers; false when one of them is above 2^63 - 1 (then `read_units` can read it).
  bool read_wholes(int64_t begin, int64_t count, int64_t* out) const;
  // Where they already lie as 64-bit numbers, or null.
  const int64_t* wholes_at(int64_t begin, int64_t count) const;
  // Numbers in units of 1e-12; the index of the first one that does not fit or has more than 12
  // digits after the point, or -1.
  int64_t read_units(int64_t begin, int64_t count, Int128* out) const;
  void read_texts(int64_t begin, int64_t count, std::string_view* out) const;
  // Whether they are all the same number or the same code; false where that is not seen at a
  // glance.
  bool repeats(int64_t begin, int64_t count) const;
  // Where these values lie, as far as they are in one chunk: numbers, codes, or the ends of texts;
  // and as many bytes of texts as those before them take. Hints for the processor, not to be read:
  // values may lie elsewhere, and less may lie there.
  std::array<std::span<const char>, 2> memory_at(int64_t begin, int64_t count) const;
  // Where the chunk of this value ends.
  int64_t chunk_end(int64_t index) const;
  // The positions in the dictionary, and the texts of that of one chunk.
  void read_codes(int64_t begin, int64_t count, int64_t* out) const;
  std::vector<std::string_view> dictionary_texts(int64_t begin) const;

 private:
  enum class Layout : uint8_t { kInline = 0, kText32, kText64, kTextView };

  struct Chunk {
    int64_t begin = 0;  // of the column
    int64_t length = 0;
    int64_t offset = 0;  // of the buffers
    const uint8_t* validity = nullptr;
    const void* data = nullptr;  // numbers, offsets or views
    const char* bytes = nullptr;
    const void* const* view_buffers = nullptr;
    std::shared_ptr<const Column> dictionary;
  };

  size_t chunk_of(int64_t index) const;
  std::string_view text_in(const Chunk& chunk, int64_t at) const;
  template <class Read>
  void for_each_part(int64_t begin, int64_t count, Read read) const;

  Kind kind_ = Kind::kWhole;
  Layout layout_ = Layout::kInline;
  int width_ = 8;  // bytes of a number, or of a code of the dictionary
  bool signed_ = true;
  int scale_ = 0;  // of decimals
  bool dictionary_ = false;
  std::shared_ptr<const Column> dictionary_type_;
  int64_t length_ = 0;
  std::vector<Chunk> chunks_;
  std::vector<std::shared_ptr<const void>> owners_;
};

}  // namespace tenancy
