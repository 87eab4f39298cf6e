// What SQL functions give back and complain with: rows, jsonb, times for people, and the errors
// that several functions share. Knows nothing of tables.
#pragma once

#include "pg/spi.hpp"

#include <string>
#include <string_view>

struct Tuplestorestate;

namespace dtm::api {

// The rows of a set-returning function, collected in memory. A SPI scope, if any, is opened after
// this is made: what is returned belongs to the caller.
class ResultRows {
public:
    explicit ResultRows(FunctionCallInfo);
    void add(pg::Args& values);  // as many as the function has columns

private:
    Tuplestorestate* store_ = nullptr;
    TupleDesc desc_ = nullptr;
};

// A text argument without a copy; valid as long as the call.
std::string_view view_arg(FunctionCallInfo, int n);

Datum jsonb_datum(const std::string& json);

// "2026-01-02 03:04:05.678+01", in the reader's time zone.
std::string time_text(pg::UnixTime);
// "2026-01-02T03:04:05.678+01:00" (dtm-compat.md 1.6).
std::string json_time(pg::UnixTime);
// "850 ms", "17 s", "5 min", "3 h", "2 d": rounded.
std::string duration_text(std::chrono::microseconds);
std::string counted(std::uint64_t n, std::string_view singular, std::string_view plural);
std::string in_quotes(std::string_view text);  // "text"

// 25006 where nothing can be written: a read-only transaction, a standby.
void require_writable(const char* function);
// TD004. Also raised where the caller may not see the transaction: to him it does not exist.
[[noreturn]] void unknown_gid(std::string_view gid);
// TD003: a final status never changes (P4).
[[noreturn]] void already_final(std::string_view gid, std::string_view status,
                                std::string_view wish);

}  // namespace dtm::api
