// A row of store/lookup.hpp as progress.hpp wants to read it. Within a store::AsOwner.
#pragma once

#include "api/progress.hpp"
#include "store/lookup.hpp"
#include "store/registered.hpp"

namespace dtm::api {

inline RowTexts texts_of(const store::Stored& row) {
    RowTexts texts;
    texts.gid = row.gid;
    texts.trans_type = row.trans_type;
    texts.status = row.status;
    texts.create_time = row.create_time;
    texts.finish_time = row.finish_time;
    texts.request = row.request;
    if (row.progress) texts.progress = *row.progress;
    const auto type = core::parse_trans_type(row.trans_type);
    if (type) texts.registered = store::registrations(row.gid, *type, true);
    return texts;
}

}  // namespace dtm::api
