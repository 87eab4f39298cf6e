// See call.hpp. Everything here runs with an error in flight, so nothing may fail unguarded: a copy
// that cannot be allocated is replaced by an error that needs no memory.
#include "pg/call.hpp"

#include <new>

namespace dtm::pg {
namespace {

// Copied errors outlive the transaction they came from. Each has a context of its own:
// FreeErrorData leaves some of what CopyErrorData has copied behind.
MemoryContext error_memory() {
    return AllocSetContextCreate(TopMemoryContext, "dtm error", ALLOCSET_SMALL_SIZES);
}

// Runs C code that may ereport and swallows the error: used only to build the copy of another one,
// where the alternative is to lose both.
template <class F>
bool guarded(F&& f) noexcept {
    sigjmp_buf* const outer = PG_exception_stack;
    ErrorContextCallback* const context_stack = error_context_stack;
    MemoryContext const memory = CurrentMemoryContext;
    sigjmp_buf here;
    bool ok = true;
    if (sigsetjmp(here, 0) == 0) {
        PG_exception_stack = &here;
        f();
    } else {
        ok = false;
        FlushErrorState();
    }
    PG_exception_stack = outer;
    error_context_stack = context_stack;
    MemoryContextSwitchTo(memory);
    return ok;
}

ErrorData* make_error(int sqlerrcode, const char* message, const char* detail,
                      const char* hint) noexcept {
    ErrorData* volatile made = nullptr;
    guarded([&] {
        const MemoryContext memory = error_memory();
        MemoryContextSwitchTo(memory);
        auto* e = static_cast<ErrorData*>(palloc0(sizeof(ErrorData)));
        e->elevel = ERROR;
        e->sqlerrcode = sqlerrcode;
        e->message = pstrdup(message);
        if (detail != nullptr && *detail != '\0') e->detail = pstrdup(detail);
        if (hint != nullptr && *hint != '\0') e->hint = pstrdup(hint);
        e->assoc_context = memory;
        made = e;
    });
    return made;
}

}  // namespace

void PgError::release(ErrorData* edata) noexcept {
    if (edata != nullptr) MemoryContextDelete(edata->assoc_context);
}

const char* PgError::what() const noexcept {
    return edata_ && edata_->message ? edata_->message : "out of memory";
}

int PgError::sqlstate() const noexcept {
    return edata_ ? edata_->sqlerrcode : ERRCODE_OUT_OF_MEMORY;
}

namespace detail {

void throw_current_error(MemoryContext caller_context) {
    ErrorData* volatile copy = nullptr;
    guarded([&] {
        MemoryContextSwitchTo(error_memory());
        copy = CopyErrorData();  // its assoc_context is the one we are in
    });
    FlushErrorState();
    MemoryContextSwitchTo(caller_context);
    throw PgError(copy);
}

// Keeps the captured error alive until the error stack has copied it, and (harmlessly) until the
// next.
std::shared_ptr<ErrorData> captive;

ErrorData* capture_exception() noexcept {
    try {
        throw;
    } catch (const PgError& e) {
        captive = e.share();
    } catch (const SqlError& e) {
        const char* s = e.state;
        captive = PgError(make_error(MAKE_SQLSTATE(s[0], s[1], s[2], s[3], s[4]), e.what(),
                                     e.detail.c_str(), e.hint.c_str()))
                      .share();
    } catch (const std::bad_alloc&) {
        captive.reset();
    } catch (const std::exception& e) {
        captive = PgError(make_error(ERRCODE_INTERNAL_ERROR, e.what(), nullptr, nullptr)).share();
    } catch (...) {
        captive =
            PgError(make_error(ERRCODE_INTERNAL_ERROR, "unknown C++ exception", nullptr, nullptr))
                .share();
    }
    return captive.get();
}

void raise(ErrorData* edata) {
    if (edata == nullptr) {
        ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
    }
    if (edata->filename != nullptr) ReThrowError(edata);  // it came from PostgreSQL: keep it whole
    ThrowErrorData(edata);
    pg_unreachable();
}

}  // namespace detail

void log(int level, const std::string& message, const std::string& detail,
         const std::string& hint) {
    const char* m = message.c_str();
    const char* d = detail.c_str();
    const char* h = hint.c_str();
    call([&] {
        ereport(level, (errmsg_internal("%s", m), *d ? errdetail_internal("%s", d) : 0,
                        *h ? errhint("%s", h) : 0));
    });
}

}  // namespace dtm::pg
