// See spi.hpp. Errors of SPI itself (negative result codes) are programming errors and say which
// statement they came from.
#include "pg/spi.hpp"

extern "C" {
#include "catalog/namespace.h"
#include "utils/array.h"
}

namespace dtm::pg {

Args& Args::datum(Datum v) {
    if (size_ == capacity) throw std::length_error("too many parameters");
    values_[size_] = v;
    nulls_[size_++] = ' ';
    return *this;
}

Args& Args::null() {
    datum(Datum{0});
    nulls_[size_ - 1] = 'n';
    return *this;
}

Args& Args::texts(std::span<const std::string_view> v) {
    std::vector<std::optional<std::string_view>> all(v.begin(), v.end());
    return datum(text_array(all));
}

namespace {

Datum build_array(std::vector<Datum>& values, std::vector<char>& nulls, Oid type, int length,
                  bool by_value, char align) {
    Datum* v = values.data();
    auto* n = reinterpret_cast<bool*>(nulls.data());
    int dims[1] = {static_cast<int>(values.size())};
    int lower[1] = {1};
    return call([&] {
        return PointerGetDatum(
            construct_md_array(v, n, 1, dims, lower, type, length, by_value, align));
    });
}

}  // namespace

Datum text_array(std::span<const std::optional<std::string_view>> items) {
    std::vector<Datum> values(items.size());
    std::vector<char> nulls(items.size());
    for (std::size_t i = 0; i < items.size(); ++i) {
        nulls[i] = items[i] ? 0 : 1;
        if (items[i]) values[i] = text_datum(*items[i]);
    }
    return build_array(values, nulls, TEXTOID, -1, false, TYPALIGN_INT);
}

Datum bytea_array(std::span<const std::string_view> items) {
    std::vector<Datum> values(items.size());
    std::vector<char> nulls(items.size());
    // A text without an encoding: the same bytes in memory.
    for (std::size_t i = 0; i < items.size(); ++i) values[i] = text_datum(items[i]);
    return build_array(values, nulls, BYTEAOID, -1, false, TYPALIGN_INT);
}

Datum int4_array(std::span<const std::int32_t> items) {
    std::vector<Datum> values(items.size());
    std::vector<char> nulls(items.size());
    for (std::size_t i = 0; i < items.size(); ++i) values[i] = Int32GetDatum(items[i]);
    return build_array(values, nulls, INT4OID, 4, true, TYPALIGN_INT);
}

Datum int8_array(std::span<const std::int64_t> items) {
    std::vector<Datum> values(items.size());
    std::vector<char> nulls(items.size());
    for (std::size_t i = 0; i < items.size(); ++i) values[i] = Int64GetDatum(items[i]);
    return build_array(values, nulls, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
}

Datum tid_array(std::span<ItemPointerData> items) {
    std::vector<Datum> values(items.size());
    std::vector<char> nulls(items.size());
    for (std::size_t i = 0; i < items.size(); ++i) values[i] = PointerGetDatum(&items[i]);
    return build_array(values, nulls, TIDOID, sizeof(ItemPointerData), false, TYPALIGN_SHORT);
}

Datum time_array(std::span<const std::optional<UnixTime>> items) {
    std::vector<Datum> values(items.size());
    std::vector<char> nulls(items.size());
    for (std::size_t i = 0; i < items.size(); ++i) {
        nulls[i] = items[i] ? 0 : 1;
        if (items[i]) values[i] = TimestampTzGetDatum(to_timestamptz(*items[i]));
    }
    return build_array(values, nulls, TIMESTAMPTZOID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
}

Datum Rows::value(std::size_t row, int column) const {
    bool null = false;
    HeapTuple tuple = table_->vals[row];
    TupleDesc desc = table_->tupdesc;
    return call([&] { return SPI_getbinval(tuple, desc, column, &null); });
}

bool Rows::is_null(std::size_t row, int column) const {
    bool null = false;
    HeapTuple tuple = table_->vals[row];
    TupleDesc desc = table_->tupdesc;
    call([&] { (void)SPI_getbinval(tuple, desc, column, &null); });
    return null;
}

std::string_view Rows::text(std::size_t row, int column) const {
    Datum d = value(row, column);
    if (d == 0) return {};
    auto* t = call([&] { return reinterpret_cast<varlena*>(PG_DETOAST_DATUM_PACKED(d)); });
    return {VARDATA_ANY(t), static_cast<std::size_t>(VARSIZE_ANY_EXHDR(t))};
}

std::optional<std::string> Rows::opt_text(std::size_t row, int column) const {
    if (is_null(row, column)) return std::nullopt;
    return std::string(text(row, column));
}

Spi::Spi() : exceptions_(std::uncaught_exceptions()) {
    if (call([] { return SPI_connect(); }) != SPI_OK_CONNECT) {
        throw std::runtime_error("SPI_connect failed");
    }
}

Spi::~Spi() {
    if (std::uncaught_exceptions() == exceptions_) SPI_finish();
}

Rows execute(const std::string& sql) {
    const char* text = sql.c_str();
    const int code = call([text] { return SPI_execute(text, false, 0); });
    if (code < 0) throw std::runtime_error(std::string(SPI_result_code_string(code)) + ": " + sql);
    return {SPI_tuptable, SPI_processed};
}

Rows execute(const std::string& sql, std::initializer_list<Oid> types, Args& args) {
    if (args.size() != types.size()) throw std::logic_error("arguments of: " + sql);
    std::vector<Oid> copy(types);
    const char* text = sql.c_str();
    Oid* type = copy.data();
    const int count = static_cast<int>(copy.size());
    const int code = call([&] {
        return SPI_execute_with_args(text, count, type, args.values(), args.nulls(), false, 0);
    });
    if (code < 0) throw std::runtime_error(std::string(SPI_result_code_string(code)) + ": " + sql);
    return {SPI_tuptable, SPI_processed};
}

Rows Statement::execute(Args& args, bool read_only, long limit) {
    if (args.size() != types_.size()) throw std::logic_error(std::string("arguments of: ") + sql_);
    if (plan_ == nullptr) {
        const int count = static_cast<int>(types_.size());
        Oid* types = types_.data();
        const char* sql = sql_;
        SPIPlanPtr plan = call([&] {
            SPIPlanPtr p = SPI_prepare(sql, count, types);
            if (p != nullptr && SPI_keepplan(p) != 0) p = nullptr;
            return p;
        });
        if (plan == nullptr) throw std::runtime_error(std::string("cannot prepare: ") + sql_);
        plan_ = plan;
    }
    SPIPlanPtr plan = plan_;
    Datum* values = args.values();
    const char* nulls = args.nulls();
    const int code = call([&] { return SPI_execute_plan(plan, values, nulls, read_only, limit); });
    if (code < 0) {
        throw std::runtime_error(std::string(SPI_result_code_string(code)) + ": " + sql_);
    }
    return {SPI_tuptable, SPI_processed};
}

std::string text_arg(FunctionCallInfo fcinfo, int n) {
    auto* t = call([&] { return PG_GETARG_TEXT_PP(n); });
    return {VARDATA_ANY(t), static_cast<std::size_t>(VARSIZE_ANY_EXHDR(t))};
}

std::optional<std::string> opt_text_arg(FunctionCallInfo fcinfo, int n) {
    if (PG_ARGISNULL(n)) return std::nullopt;
    return text_arg(fcinfo, n);
}

Datum text_datum(std::string_view v) {
    const char* data = v.data();
    const int size = static_cast<int>(v.size());
    return call([&] { return PointerGetDatum(cstring_to_text_with_len(data, size)); });
}

}  // namespace dtm::pg
