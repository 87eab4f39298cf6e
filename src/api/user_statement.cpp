// See user_statement.hpp. PostgreSQL's own parser says what the SQL is; nothing is guessed from its
// text.
#include "api/user_statement.hpp"

#include "api/result.hpp"
#include "pg/tree.hpp"

extern "C" {
#include "catalog/namespace.h"
#include "parser/analyze.h"
#include "tcop/cmdtag.h"
#include "tcop/dest.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
}

#include <algorithm>
#include <unordered_map>

namespace dtm::api {
namespace {

constexpr std::size_t max_statements = 128;  // of a session; one that builds SQL has no end of them
constexpr int max_parameters = 1000;         // $n above it is a mistake

[[noreturn]] void refuse_sql(const std::string& message, const char* hint) {
    throw pg::SqlError("TD001", message, "Field: sql", hint);
}

// The parameters that a statement names. Plain C: it is filled by PostgreSQL's tree walker.
struct Parameters {
    bool used[max_parameters];
    int highest;
};

extern "C" bool note_parameter(Node* node, void* context) {
    if (node == nullptr) return false;
    auto* found = static_cast<Parameters*>(context);
    if (IsA(node, ParamRef)) {
        const int number = reinterpret_cast<ParamRef*>(node)->number;
        if (number >= 1 && number <= max_parameters) found->used[number - 1] = true;
        if (number > found->highest) found->highest = number;
        return false;
    }
    return pg::walk_raw(node, note_parameter, context);
}

// The part of a statement that can have parameters; null: nothing that could be said about it.
Node* part_with_parameters(Node* statement) {
    switch (nodeTag(statement)) {
        case T_SelectStmt:
        case T_InsertStmt:
        case T_UpdateStmt:
        case T_DeleteStmt:
#if PG_VERSION_NUM >= 150000
        case T_MergeStmt:
#endif
            return statement;
        case T_CallStmt:
            return reinterpret_cast<Node*>(reinterpret_cast<CallStmt*>(statement)->funccall);
        default:
            return nullptr;
    }
}

RawStmt* parse_one(const char* sql) {
    const List* statements = pg::call([sql] { return pg_parse_query(sql); });
    if (list_length(statements) == 0) {
        refuse_sql("the SQL is empty", "Give the statement that the barrier protects.");
    }
    if (list_length(statements) > 1) {
        refuse_sql("the SQL holds " + std::to_string(list_length(statements)) + " statements",
                   "Put them into a function, or call dtm_barrier() and run them when it returns "
                   "true.");
    }
    RawStmt* raw = linitial_node(RawStmt, statements);
    if (IsA(raw->stmt, TransactionStmt)) {
        refuse_sql(
            std::string("a barrier cannot hold ") + GetCommandTagName(CreateCommandTag(raw->stmt)),
            "The barrier row and the rows of the SQL are one transaction, the caller's.");
    }
    return raw;
}

void check_parameters(RawStmt* raw, std::size_t given) {
    if (given > max_parameters) {
        throw pg::SqlError("TD001", std::to_string(given) + " arguments follow the SQL",
                           "Field: args",
                           "At most " + std::to_string(max_parameters) + " are possible.");
    }
    Node* part = part_with_parameters(raw->stmt);
    if (part == nullptr) return;
    Parameters found{};
    pg::call([&] { (void)note_parameter(part, &found); });
    if (found.highest > static_cast<int>(given)) {
        const std::string follow = given == 0   ? "no argument follows it"
                                   : given == 1 ? "1 argument follows it"
                                                : std::to_string(given) + " arguments follow it";
        refuse_sql("the SQL uses $" + std::to_string(found.highest) + ", but " + follow,
                   "$1 is the first argument after the SQL.");
    }
    for (std::size_t i = 0; i < given; ++i) {
        if (found.used[i]) continue;
        throw pg::SqlError("TD001", "the SQL does not use $" + std::to_string(i + 1), "Field: args",
                           "$1 is the first argument after the SQL.");
    }
}

// The types that PostgreSQL gives to parameters which come without one.
void infer_types(RawStmt* raw, const char* sql, std::vector<Oid>& types) {
    bool open = false;
    for (const Oid type : types) open = open || type == UNKNOWNOID;
    if (!open) return;
    Oid* inferred = types.data();
    const int count = static_cast<int>(types.size());
    pg::call([&] {
        // It may be given a larger array than ours.
        auto* work = static_cast<Oid*>(palloc(sizeof(Oid) * static_cast<unsigned>(count)));
        for (int i = 0; i < count; ++i) work[i] = inferred[i];
        int n = count;
        auto* copy = static_cast<RawStmt*>(copyObjectImpl(raw));
#if PG_VERSION_NUM >= 150000
        (void)parse_analyze_varparams(copy, sql, &work, &n, nullptr);
#else
        (void)parse_analyze_varparams(copy, sql, &work, &n);
#endif
        for (int i = 0; i < count; ++i) inferred[i] = work[i] == UNKNOWNOID ? TEXTOID : work[i];
    });
}

// Grows with every change of a table, type or function: what was inferred may not be true any more.
std::uint64_t changes = 0;
extern "C" void note_relation_change(Datum, Oid) { ++changes; }
extern "C" void note_catalog_change(Datum, int, uint32) { ++changes; }

void watch_changes() {
    static bool watching = false;
    if (watching) return;
    pg::call([] {
        CacheRegisterRelcacheCallback(note_relation_change, Datum{0});
        CacheRegisterSyscacheCallback(TYPEOID, note_catalog_change, Datum{0});
        CacheRegisterSyscacheCallback(PROCOID, note_catalog_change, Datum{0});
    });
    watching = true;
}

bool any_untyped(const std::vector<UserValue>& values) {
    return std::ranges::any_of(values, [](const UserValue& v) { return v.type == UNKNOWNOID; });
}

std::unordered_map<std::string, std::shared_ptr<UserStatement>>& cache() {
    static std::unordered_map<std::string, std::shared_ptr<UserStatement>> statements;
    return statements;
}

void make_room() {
    if (cache().size() < max_statements) return;
    std::erase_if(cache(), [](const auto& entry) { return entry.second.use_count() == 1; });
}

std::string cache_key(const std::string& sql, const std::vector<UserValue>& values) {
    std::string key;
    for (const UserValue& v : values) key += std::to_string(v.type) + ",";
    return key + '\0' + namespace_search_path + '\0' + sql;
}

}  // namespace

UserStatement::UserStatement(const char* sql, std::vector<Oid> types) : types_(std::move(types)) {
    inputs_.resize(types_.size());
    const int count = static_cast<int>(types_.size());
    Oid* type = types_.data();
    Input* input = inputs_.data();
    plan_ = pg::call([&] {
        for (int i = 0; i < count; ++i) {
            getTypeInputInfo(type[i], &input[i].function, &input[i].parameter);
        }
        SPIPlanPtr plan = SPI_prepare(sql, count, type);
        if (plan != nullptr && SPI_keepplan(plan) != 0) plan = nullptr;
        return plan;
    });
    if (plan_ == nullptr) {
        throw std::runtime_error(std::string("cannot prepare: ") +
                                 SPI_result_code_string(SPI_result));
    }
}

UserStatement::~UserStatement() {
    if (plan_ != nullptr) (void)SPI_freeplan(plan_);
}

std::shared_ptr<UserStatement> UserStatement::prepared(const std::string& sql,
                                                       const std::vector<UserValue>& values) {
    const std::string key = cache_key(sql, values);
    watch_changes();
    if (const auto found = cache().find(key); found != cache().end()) {
        const bool inferred_before = any_untyped(values) && found->second->changes_ != changes;
        if (!inferred_before) return found->second;
        cache().erase(found);
    }
    const std::uint64_t changes_now = changes;
    const char* text = sql.c_str();
    RawStmt* raw = parse_one(text);
    check_parameters(raw, values.size());
    std::vector<Oid> types;
    types.reserve(values.size());
    for (const UserValue& v : values) types.push_back(v.type);
    infer_types(raw, text, types);
    make_room();
    std::shared_ptr<UserStatement> made(new UserStatement(text, std::move(types)));
    made->changes_ = changes_now;
    cache().emplace(key, made);
    return made;
}

void UserStatement::run(const std::vector<UserValue>& values) {
    const int count = static_cast<int>(values.size());
    ParamListInfo list = pg::call([count] { return makeParamList(count); });
    for (int i = 0; i < count; ++i) {
        const UserValue& v = values[static_cast<std::size_t>(i)];
        ParamExternData& p = list->params[i];
        p.ptype = types_[static_cast<std::size_t>(i)];
        p.pflags = PARAM_FLAG_CONST;
        p.isnull = v.null;
        p.value = v.value;
        if (v.null || v.type != UNKNOWNOID) continue;
        const Input input = inputs_[static_cast<std::size_t>(i)];
        p.value = pg::call([&] {
            return OidInputFunctionCall(input.function, const_cast<char*>(v.text), input.parameter,
                                        -1);
        });
    }
    SPIExecuteOptions options{};
    options.params = list;
    options.dest = None_Receiver;
    SPIPlanPtr plan = plan_;
    const int code = pg::call([&] { return SPI_execute_plan_extended(plan, &options); });
    if (code >= 0) return;
    if (code == SPI_ERROR_COPY) {
        refuse_sql("a barrier cannot hold COPY from or to the client",
                   "Call dtm_branch() and let dtm_protect() guard the table.");
    }
    throw std::runtime_error(std::string("cannot run the SQL: ") + SPI_result_code_string(code));
}

}  // namespace dtm::api
