// The routes that read, and those of topics: everything that is no command on a global transaction
// (dtm-compat.md 1.5.9-1.5.18). Within a transaction and a pg::Spi scope.
#pragma once

#include "server/job.hpp"

namespace dtm::server {

// Its answer is made by answer_read(). Of prepareWorkflow, after the command was carried out.
bool needs_read(const Job& job);

// `role`: whose rows are seen. `touched` gets the gids of rows that were made due. nullopt:
// somebody has locked the topic that is to be changed; nothing was done.
std::optional<Answer> answer_read(const Job& job, Oid role, core::Time now,
                                  std::vector<std::string>& touched);

// Empty: it changes none.
std::string changed_topic(const Job& job);

}  // namespace dtm::server
