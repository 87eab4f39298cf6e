// A row of lookup.hpp as wire reads and prints it, for whoever shows one.
#pragma once

#include "store/lookup.hpp"
#include "store/registered.hpp"
#include "wire/api_answer.hpp"
#include "wire/progress.hpp"

namespace dtm::store {

// Views into `row`, and its registered branches. Within a pg::Spi scope.
inline wire::RowTexts texts_of(const Stored& row) {
    wire::RowTexts texts;
    texts.gid = row.gid;
    texts.trans_type = row.trans_type;
    texts.status = row.status;
    texts.create_time = row.create_time;
    texts.finish_time = row.finish_time;
    texts.request = row.request;
    if (row.progress) texts.progress = *row.progress;
    const auto type = core::parse_trans_type(row.trans_type);
    if (type) texts.registered = registrations(row.gid, *type, true);
    return texts;
}

// Views into `row`. `request`: null when it cannot be read.
inline wire::TransactionAnswer answer_of(const Stored& row, const core::Request* request) {
    wire::TransactionAnswer answer;
    answer.gid = row.gid;
    answer.trans_type = row.trans_type;
    answer.status = row.status;
    answer.owner = row.owner;
    answer.request = request;
    answer.create_time = row.create_time;
    answer.update_time = row.update_time;
    answer.finish_time = row.finish_time;
    answer.rollback_time = row.rollback_time;
    answer.next_cron_time = row.next_cron_time;
    answer.next_cron_interval = row.next_cron_interval;
    if (row.result) answer.result = *row.result;
    if (row.rollback_reason) answer.rollback_reason = *row.rollback_reason;
    return answer;
}

}  // namespace dtm::store
