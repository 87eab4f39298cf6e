// The border between C++ and PostgreSQL (style.md 9.3). A PostgreSQL error (longjmp) becomes a C++
// exception that keeps the whole ErrorData, and the exception becomes the same error again at the
// other side, raised after the catch block has ended. Nothing with a destructor is jumped over.
//
// The rules:
//  1. A function that can ereport is called only through pg::call.
//  2. Between sigsetjmp and the C call there is no object with a non-trivial destructor: what the
//     callable returns must be trivial, and the callable itself must only call C.
//  3. PgError keeps the whole ErrorData; pg::entry raises it whole. No SQLSTATE is made of text.
//  4. pg::entry catches PgError, bad_alloc, exception and ...; it raises after the catch block.
//  5. No PG_TRY in our code. One mechanism.
//  6. A PgError is swallowed only around a Transaction or Subtransaction that aborts.
//  7. Callbacks given to C libraries or to PostgreSQL are noexcept and never longjmp.
//  8. One thread beside the main one, that of net/: all signals blocked, no PostgreSQL function.
//  9. Two heaps, never mixed: C++'s for our values, memory contexts for what PostgreSQL will own.
// 10. proc_exit runs no C++ destructors: nothing that matters to others relies on one alone.
#pragma once

#include "pg/postgres.hpp"

#include <csetjmp>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

namespace dtm::pg {

// An error that PostgreSQL raised. Copyable (shared), cheap to throw.
class PgError : public std::exception {
public:
    explicit PgError(ErrorData* edata) noexcept : edata_(edata, &release) {}
    const char* what() const noexcept override;
    int sqlstate() const noexcept;  // ERRCODE_* value
    const ErrorData* data() const noexcept { return edata_.get(); }
    const std::shared_ptr<ErrorData>& share() const noexcept { return edata_; }

private:
    static void release(ErrorData*) noexcept;
    std::shared_ptr<ErrorData> edata_;  // null: not even the copy could be allocated
};

// An error of our own for the user: becomes ereport(ERROR) with these fields.
class SqlError : public std::runtime_error {
public:
    SqlError(const char* sqlstate, const std::string& message, std::string detail_text = {},
             std::string hint_text = {})
        : std::runtime_error(message), detail(std::move(detail_text)), hint(std::move(hint_text)) {
        for (int i = 0; i < 5; ++i) state[i] = sqlstate[i];
    }
    char state[6] = {};
    std::string detail;
    std::string hint;
};

namespace detail {
// Copies the current error out of PostgreSQL's error stack and throws it. Never returns.
[[noreturn]] void throw_current_error(MemoryContext caller_context);
// Turns the exception being handled into an ErrorData that the next function raises. Call it inside
// a catch block; it does not throw.
ErrorData* capture_exception() noexcept;
// Raises what capture_exception returned. Call it outside of any catch block.
[[noreturn]] void raise(ErrorData*);
}  // namespace detail

// Calls C code that may ereport. `f` must only hold references and call C functions.
template <class F>
auto call(F&& f) -> std::invoke_result_t<F&> {
    using R = std::invoke_result_t<F&>;
    static_assert(std::is_void_v<R> || std::is_trivially_destructible_v<R>,
                  "rule 2: nothing with a destructor may live between sigsetjmp and the C call");
    sigjmp_buf* const outer = PG_exception_stack;
    ErrorContextCallback* const context_stack = error_context_stack;
    MemoryContext const memory = CurrentMemoryContext;
    sigjmp_buf here;
    if (sigsetjmp(here, 0) == 0) {
        PG_exception_stack = &here;
        try {
            if constexpr (std::is_void_v<R>) {
                f();
                PG_exception_stack = outer;
                error_context_stack = context_stack;
                return;
            } else {
                R result = f();
                PG_exception_stack = outer;
                error_context_stack = context_stack;
                return result;
            }
        } catch (...) {
            // The callable should not throw; if it does, PostgreSQL must not jump into this frame.
            PG_exception_stack = outer;
            error_context_stack = context_stack;
            throw;
        }
    }
    PG_exception_stack = outer;
    error_context_stack = context_stack;
    detail::throw_current_error(memory);
}

// The body of every C function that PostgreSQL calls: runs C++ and turns exceptions into errors.
template <class F>
Datum entry(F&& f) {
    ErrorData* pending = nullptr;
    try {
        return f();
    } catch (...) {
        pending = detail::capture_exception();
    }
    detail::raise(pending);
}

// Logs through elog from C++ (never from the network thread).
void log(int level, const std::string& message, const std::string& detail = {},
         const std::string& hint = {});

}  // namespace dtm::pg

#define DTM_EXPORT __attribute__((visibility("default")))

// Defines the SQL-callable symbol `name`; its body is C++ and returns Datum.
#define DTM_FUNCTION(name)                                          \
    extern "C" {                                                    \
    extern DTM_EXPORT const Pg_finfo_record* pg_finfo_##name(void); \
    const Pg_finfo_record* pg_finfo_##name(void) {                  \
        static const Pg_finfo_record info = {1};                    \
        return &info;                                               \
    }                                                               \
    extern DTM_EXPORT Datum name(FunctionCallInfo fcinfo);          \
    }                                                               \
    static Datum name##_body(FunctionCallInfo fcinfo);              \
    Datum name(FunctionCallInfo fcinfo) {                           \
        return dtm::pg::entry([&] { return name##_body(fcinfo); }); \
    }                                                               \
    static Datum name##_body([[maybe_unused]] FunctionCallInfo fcinfo)
