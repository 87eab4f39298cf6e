// parse_registration(): the flat map of registerBranch and, after it is read, a branch of the
// request.
#include "wire/api_request.hpp"
#include "wire/fields.hpp"
#include "wire/rules.hpp"
#include "wire/stored.hpp"
#include "wire/text.hpp"

namespace dtm::wire {

namespace {

using core::TransType;
using json::Kind;
using json::Value;

// Branch ids and ops are key columns here and varchar columns in the clients' barrier tables.
constexpr std::size_t max_id_bytes = 128;

// dtm reads the body into a map of strings: the kind of every member counts, known or not.
void check_kinds(Value object) {
    const Path top;
    if (object.kind() != Kind::object) {
        throw BadBody("$", "the request must be an object of strings, not " +
                               std::string(json::article(object.kind())));
    }
    for (std::size_t i = 0; i < object.size(); ++i) {
        const auto [name, value] = object.member(i);
        if (value.is_null() || value.kind() == Kind::string) continue;
        throw BadBody(
            Path(top, name).text(),
            quoted(name) + " must be a string, not " + std::string(json::article(value.kind())),
            "All values of registerBranch are strings.");
    }
}

class RegistrationReader {
public:
    RegistrationReader(Value object, const Limits& limits) : object_(object), limits_(limits) {}

    Registration read() {
        const std::string_view gid = text("gid");
        if (gid.empty()) Path(top_, "gid").fail("no gid specified");
        check_gid(gid, limits_);
        out_.gid = gid;
        read_type();
        out_.branch_id = id("branch_id");
        // Bytes: unlike all others they may hold NUL.
        if (const Value data = object_.find("data"); !data.is_null()) out_.data = data.string();
        switch (out_.type) {
            case TransType::tcc:
                out_.url = url("confirm");
                out_.cancel = url("cancel");
                break;
            case TransType::xa:
                out_.url = url("url");
                break;
            default:
                out_.op = id("op");
                read_status();
                break;
        }
        return std::move(out_);
    }

private:
    std::string_view text(std::string_view name) const {
        return read_string(Path(top_, name), object_.find(name));
    }

    std::string_view url(std::string_view name) const {
        const std::string_view address = text(name);
        check_url(Path(top_, name), address);
        return address;
    }

    std::string_view id(std::string_view name) const {
        const Path path(top_, name);
        const std::string_view value = text(name);
        if (value.empty()) path.fail(std::string(name) + " is missing");
        if (value.size() > max_id_bytes) {
            path.fail(std::string(name) + " is " + std::to_string(value.size()) +
                      " bytes long, the limit is " + std::to_string(max_id_bytes));
        }
        return value;
    }

    void read_type() {
        const Path path(top_, "trans_type");
        const std::string_view name = text("trans_type");
        const auto type = core::parse_trans_type(name);
        if (!type || *type == TransType::msg || *type == TransType::saga) {
            // dtm's spelling: tests of its clients look for it.
            path.fail("unknow trans type: " + printable(name, 80),
                      "Branches of tcc, xa and workflow are registered.");
        }
        out_.type = *type;
    }

    void read_status() {
        const std::string_view status = text("status");
        if (status == "succeed") {
            out_.status = core::BranchStatus::succeed;
        } else if (status == "failed") {
            out_.status = core::BranchStatus::failed;
        } else {
            Path(top_, "status")
                .fail("a step of a workflow cannot have status " + quoted(status),
                      "status is \"succeed\" or \"failed\": only steps that have ended are "
                      "registered.");
        }
    }

    Value object_;
    const Limits& limits_;
    Path top_;
    Registration out_;
};

}  // namespace

Registration parse_registration(Value object, const Limits& limits) {
    check_kinds(object);
    return RegistrationReader(object, limits).read();
}

Registration parse_registration(std::string_view text, const Limits& limits) {
    check_size(text, limits);
    // What follows the object is not looked at (dtm-compat.md 1.1.1).
    try {
        const json::Document document(text, limits.max_depth, json::Trailing::ignore);
        return parse_registration(document.root(), limits);
    } catch (const json::SyntaxError& error) {
        throw BadBody(
            "$", std::string(error.what()) + " (byte " + std::to_string(error.offset + 1) + ")");
    }
}

void add_registered(core::Request& request, const Registration& registration) {
    const bool xa = request.type == TransType::xa;
    core::Branch branch;
    branch.branch_id = registration.branch_id;
    branch.action = registration.url;
    branch.compensate = xa ? registration.url : registration.cancel;
    branch.step = static_cast<std::uint32_t>(request.branches.size());
    request.branches.push_back(std::move(branch));
    request.payloads.push_back(registration.data);
}

}  // namespace dtm::wire
