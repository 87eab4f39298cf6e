// See transaction_list.hpp.
#include "pg/transaction_list.hpp"

namespace dtm::pg {

struct TransactionEvents {
    static std::vector<TransactionScoped*>& watchers() {
        static std::vector<TransactionScoped*> all;
        return all;
    }

    static void on_transaction(XactEvent event, void*) noexcept {
        switch (event) {
            case XACT_EVENT_COMMIT:
            case XACT_EVENT_PARALLEL_COMMIT:
                for (TransactionScoped* w : watchers()) w->end(true);
                break;
            case XACT_EVENT_ABORT:
            case XACT_EVENT_PARALLEL_ABORT:
            case XACT_EVENT_PREPARE:
                for (TransactionScoped* w : watchers()) w->end(false);
                break;
            default:
                break;  // PRE_COMMIT and PRE_PREPARE: not over yet
        }
    }

    static void on_subtransaction(SubXactEvent event, SubTransactionId id, SubTransactionId parent,
                                  void*) noexcept {
        if (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB) return;
        for (TransactionScoped* w : watchers()) {
            w->end_sub(id, parent, event == SUBXACT_EVENT_COMMIT_SUB);
        }
    }

    static void watch(TransactionScoped* object) {
        static bool registered = false;
        if (!registered) {
            call([] {
                RegisterXactCallback(on_transaction, nullptr);
                RegisterSubXactCallback(on_subtransaction, nullptr);
            });
            registered = true;
        }
        watchers().push_back(object);
    }
};

void TransactionScoped::watch() {
    if (watched_) return;
    TransactionEvents::watch(this);
    watched_ = true;
}

}  // namespace dtm::pg
