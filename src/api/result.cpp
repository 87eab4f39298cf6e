// See result.hpp.
#include "api/result.hpp"

extern "C" {
#include "access/xlog.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/tuplestore.h"
}

namespace dtm::api {

ResultRows::ResultRows(FunctionCallInfo fcinfo) {
    auto* info = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
    if (info == nullptr || !IsA(info, ReturnSetInfo) || !(info->allowedModes & SFRM_Materialize)) {
        throw pg::SqlError("0A000", "this function returns rows and is called where none are taken",
                           {}, "Call it in a FROM clause.");
    }
    pg::call([&] {
        MemoryContext const old = MemoryContextSwitchTo(info->econtext->ecxt_per_query_memory);
        const TypeFuncClass kind = get_call_result_type(fcinfo, nullptr, &desc_);
        if (kind == TYPEFUNC_SCALAR) {  // SETOF text: one column
            Oid type = get_fn_expr_rettype(fcinfo->flinfo);
            desc_ = CreateTemplateTupleDesc(1);
            TupleDescInitEntry(desc_, 1, "value", type, -1, 0);
        }
        desc_ = BlessTupleDesc(desc_);
        store_ = tuplestore_begin_heap((info->allowedModes & SFRM_Materialize_Random) != 0, false,
                                       work_mem);
        info->returnMode = SFRM_Materialize;
        info->setResult = store_;
        info->setDesc = desc_;
        MemoryContextSwitchTo(old);
    });
}

void ResultRows::add(pg::Args& values) {
    bool nulls[pg::Args::capacity];
    for (std::size_t i = 0; i < values.size(); ++i) nulls[i] = values.nulls()[i] == 'n';
    if (values.size() != static_cast<std::size_t>(desc_->natts)) {
        throw std::logic_error(
            "the library and the SQL of dtm_pg differ in the columns of a function");
    }
    Datum* data = values.values();
    pg::call([&] { tuplestore_putvalues(store_, desc_, data, nulls); });
}

std::string_view view_arg(FunctionCallInfo fcinfo, int n) {
    auto* t = pg::call([&] { return PG_GETARG_TEXT_PP(n); });
    return {VARDATA_ANY(t), static_cast<std::size_t>(VARSIZE_ANY_EXHDR(t))};
}

Datum jsonb_datum(const std::string& json) {
    const char* text = json.c_str();
    return pg::call([&] { return DirectFunctionCall1(jsonb_in, CStringGetDatum(text)); });
}

std::string time_text(pg::UnixTime t) {
    const TimestampTz stamp = pg::to_timestamptz(t);
    return pg::call([&] { return timestamptz_to_str(stamp); });
}

std::string json_time(pg::UnixTime t) {
    const Datum stamp = TimestampTzGetDatum(pg::to_timestamptz(t));
    return pg::call([&] { return JsonEncodeDateTime(nullptr, stamp, TIMESTAMPTZOID, nullptr); });
}

std::string duration_text(std::chrono::microseconds span) {
    const std::int64_t ms = std::max<std::int64_t>(0, span.count() / 1000);
    const auto rounded = [ms](std::int64_t unit) { return std::to_string((ms + unit / 2) / unit); };
    if (ms < 1000) return std::to_string(ms) + " ms";
    if (ms < 119500) return rounded(1000) + " s";
    if (ms < 7170000) return rounded(60000) + " min";
    if (ms < 171000000) return rounded(3600000) + " h";
    return rounded(86400000) + " d";
}

std::string counted(std::uint64_t n, std::string_view singular, std::string_view plural) {
    return std::to_string(n) + " " + std::string(n == 1 ? singular : plural);
}

std::string in_quotes(std::string_view text) {
    std::string out;
    out.reserve(text.size() + 2);
    out += '"';
    out += text;
    out += '"';
    return out;
}

void unknown_gid(std::string_view gid) {
    throw pg::SqlError(
        "TD004", "transaction " + in_quotes(gid) + " does not exist",
        "There is no such gid in this database, or it belongs to a role that you may not see.",
        "If another session submitted it, that session has to commit first.");
}

void already_final(std::string_view gid, std::string_view status, std::string_view wish) {
    throw pg::SqlError(
        "TD003",
        "transaction " + in_quotes(gid) + " is finished and cannot be " + std::string(wish),
        "Its status is " + std::string(status) + ", and that is final.",
        "To do the work again, submit it under another gid.");
}

void require_writable(const char* function) {
    if (!XactReadOnly) return;
    const bool standby = RecoveryInProgress();
    throw pg::SqlError(
        "25006", "cannot execute " + std::string(function) + "() in a read-only transaction",
        standby ? "This server is a standby." : "",
        standby ? "Connect to the primary, e.g. with target_session_attrs=read-write."
                : "BEGIN READ WRITE, or see default_transaction_read_only.");
}

}  // namespace dtm::api
