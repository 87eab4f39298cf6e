// The SQL that a caller hands over: one statement, prepared once per session, run with the caller's
// rights and search_path. Its parameters are typed by the caller's values or, where those are plain
// text, by the place in the SQL where they stand.
#pragma once

#include "pg/spi.hpp"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace dtm::api {

// A value for $n. Untyped: `text` (a C string of PostgreSQL's, or null) takes the type of its
// place.
struct UserValue {
    Oid type = UNKNOWNOID;
    Datum value{};
    bool null = true;
    const char* text = nullptr;
};

class UserStatement {
public:
    // The statement for this SQL, these types and the current search_path. Errors: TD001 when it is
    // not one statement, is transaction control, or its parameters are not those of `values`; those
    // of PostgreSQL for the rest. Within a Spi scope.
    static std::shared_ptr<UserStatement> prepared(const std::string& sql,
                                                   const std::vector<UserValue>& values);
    ~UserStatement();
    UserStatement(const UserStatement&) = delete;
    UserStatement& operator=(const UserStatement&) = delete;

    // Rows that it returns are thrown away.
    void run(const std::vector<UserValue>& values);

private:
    UserStatement(const char* sql, std::vector<Oid> types);

    struct Input {  // how text becomes a value
        Oid function;
        Oid parameter;
    };
    std::vector<Oid> types_;
    std::vector<Input> inputs_;
    SPIPlanPtr plan_ = nullptr;
    std::uint64_t changes_ = 0;  // of the catalog, when its types were inferred
};

}  // namespace dtm::api
