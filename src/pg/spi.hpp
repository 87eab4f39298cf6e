// SQL from C++: saved plans with typed parameters, rows that are read by column. Knows nothing of
// dtm. An error inside leaves as PgError; the enclosing (sub)transaction must abort, as with any
// error.
#pragma once

#include "pg/call.hpp"
#include "pg/time.hpp"

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dtm::pg {

Datum text_datum(std::string_view);

// Values for the parameters $1, $2, … of one execution. Texts are copied into the current memory
// context, which must live as long as the execution: SPI's own does.
class Args {
public:
    static constexpr std::size_t capacity = 24;
    Args& text(std::string_view v) { return datum(text_datum(v)); }
    Args& text(const std::string& v) { return text(std::string_view(v)); }
    Args& text(const std::optional<std::string>& v) { return v ? text(*v) : null(); }
    Args& text_or_null(std::string_view v) { return v.empty() ? null() : text(v); }
    Args& boolean(bool v) { return datum(BoolGetDatum(v)); }
    Args& int4(std::int32_t v) { return datum(Int32GetDatum(v)); }
    Args& int8(std::int64_t v) { return datum(Int64GetDatum(v)); }
    Args& oid(Oid v) { return datum(ObjectIdGetDatum(v)); }
    Args& time(UnixTime v) { return datum(TimestampTzGetDatum(to_timestamptz(v))); }
    Args& time(const std::optional<UnixTime>& v) { return v ? time(*v) : null(); }
    Args& texts(std::span<const std::string_view> v);  // text[]
    Args& datum(Datum v);
    Args& null();

    std::size_t size() const { return size_; }
    Datum* values() { return values_.data(); }
    const char* nulls() { return nulls_.data(); }

private:
    std::array<Datum, capacity> values_{};
    std::array<char, capacity> nulls_{};
    std::size_t size_ = 0;
};

// Arrays for unnest(): one entry per row, built in the current memory context.
Datum text_array(std::span<const std::optional<std::string_view>>);
Datum bytea_array(std::span<const std::string_view>);
Datum int4_array(std::span<const std::int32_t>);
Datum int8_array(std::span<const std::int64_t>);
Datum tid_array(std::span<ItemPointerData>);  // which must live as long as the array
Datum time_array(std::span<const std::optional<UnixTime>>);

// The rows of the last execution; valid until the Spi scope ends.
class Rows {
public:
    Rows(SPITupleTable* table, std::uint64_t processed) : table_(table), processed_(processed) {}
    std::size_t size() const { return table_ ? processed_ : 0; }
    std::uint64_t processed() const { return processed_; }
    bool is_null(std::size_t row, int column) const;  // columns count from 1, as in SPI
    // The bytes of a text or bytea column; detoasted into SPI memory.
    std::string_view text(std::size_t row, int column) const;
    std::optional<std::string> opt_text(std::size_t row, int column) const;
    bool boolean(std::size_t row, int column) const { return DatumGetBool(value(row, column)); }
    std::int32_t int4(std::size_t row, int column) const {
        return DatumGetInt32(value(row, column));
    }
    std::int64_t int8(std::size_t row, int column) const {
        return DatumGetInt64(value(row, column));
    }
    Oid oid(std::size_t row, int column) const { return DatumGetObjectId(value(row, column)); }
    UnixTime time(std::size_t row, int column) const {
        return from_timestamptz(DatumGetTimestampTz(value(row, column)));
    }
    std::optional<UnixTime> opt_time(std::size_t row, int column) const {
        return is_null(row, column) ? std::nullopt : std::optional(time(row, column));
    }
    Datum value(std::size_t row, int column) const;

private:
    SPITupleTable* table_;
    std::uint64_t processed_;
};

// SPI_connect … SPI_finish. Left open when an exception passes: the abort closes it.
class Spi {
public:
    Spi();
    ~Spi();
    Spi(const Spi&) = delete;
    Spi& operator=(const Spi&) = delete;

private:
    int exceptions_;
};

// SQL text, run once: for DDL and the like. Within a Spi scope.
Rows execute(const std::string& sql);
// The same with parameters, for statements about tables whose names are known at run time.
Rows execute(const std::string& sql, std::initializer_list<Oid> types, Args& args);

// One statement, prepared at its first execution in this process and kept. Make it a function-local
// static. Every name in the text is schema-qualified, operators too where a caller's search_path
// could matter.
class Statement {
public:
    Statement(const char* sql, std::initializer_list<Oid> types) : sql_(sql), types_(types) {}
    // Within a Spi scope. read_only: uses the active snapshot and may not write.
    Rows execute(Args& args, bool read_only = false, long limit = 0);

private:
    const char* sql_;
    std::vector<Oid> types_;
    SPIPlanPtr plan_ = nullptr;
};

// Arguments and results of SQL functions.
std::string text_arg(FunctionCallInfo, int n);
std::optional<std::string> opt_text_arg(FunctionCallInfo, int n);

}  // namespace dtm::pg
