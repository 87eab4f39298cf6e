// What the session is for a while: its settings, and the role that it acts as. Each of these ends
// with its scope; after an error the abort of the (sub)transaction has taken the settings back.
#pragma once

#include "pg/postgres.hpp"

#include <chrono>

namespace dtm::pg {

// Settings made with GUC_ACTION_SAVE while it lives.
class GucLevel {
public:
    // What others SET meanwhile, and not for their own scope alone.
    enum class Set : bool { discard, keep };
    explicit GucLevel(Set set = Set::keep);
    ~GucLevel();
    GucLevel(const GucLevel&) = delete;
    GucLevel& operator=(const GucLevel&) = delete;

private:
    Set set_;
    int level_;
    int exceptions_;
};

// search_path = pg_catalog, pg_temp while it lives, so that no operator of the caller's is found.
class SafeSearchPath {
public:
    SafeSearchPath();

private:
    GucLevel level_;
};

// While it lives, a lock is waited for no longer than that; then 55P03, as with lock_timeout.
class LockTimeout {
public:
    explicit LockTimeout(std::chrono::milliseconds);

private:
    GucLevel level_;
};

// Who the session acted as before.
class SavedRole {
public:
    SavedRole() { GetUserIdAndSecContext(&role_, &context_); }
    ~SavedRole() { SetUserIdAndSecContext(role_, context_); }
    SavedRole(const SavedRole&) = delete;
    SavedRole& operator=(const SavedRole&) = delete;
    void act_as(Oid role, int restrictions) const {
        SetUserIdAndSecContext(role, context_ | restrictions);
    }

private:
    Oid role_ = InvalidOid;
    int context_ = 0;
};

// Acts as another role while it lives, as a SECURITY DEFINER function would; an error resets it
// with the (sub)transaction.
class AsRole {
public:
    explicit AsRole(Oid role);

private:
    SavedRole before_;
};

// Acts as another role whose code may run and is not trusted, as ANALYZE does: what it sets is
// taken back, it finds nothing by the caller's search_path, and it can leave nothing behind that
// would run later as somebody else (deferred triggers, SET ROLE).
class Confined {
public:
    explicit Confined(Oid role);

private:
    SavedRole before_;
    GucLevel level_{GucLevel::Set::discard};  // ends while it still acts as the other role
};

}  // namespace dtm::pg
