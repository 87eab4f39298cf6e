// See health.hpp.
#include "store/health.hpp"

#include "pg/session.hpp"
#include "store/barrier.hpp"
#include "store/barrier_install.hpp"

namespace dtm::store {

namespace {

void read_rows(Health& h, pg::UnixTime late_before) {
    static pg::Statement late(
        "SELECT pg_catalog.count(*), pg_catalog.min(next_cron_time) FROM dtm.trans"
        " WHERE next_cron_time IS NOT NULL AND next_cron_time OPERATOR(pg_catalog.<) $1",
        {TIMESTAMPTZOID});
    pg::Args args;
    args.time(late_before);
    const pg::Rows rows = late.execute(args, true);
    h.late = rows.int8(0, 1);
    h.oldest_due = rows.opt_time(0, 2);

    static pg::Statement longest(
        "SELECT pg_catalog.max(update_time) FROM (SELECT update_time FROM dtm.trans"
        "  WHERE next_cron_time IS NOT NULL ORDER BY next_cron_time DESC LIMIT 1000) AS w",
        {});
    pg::Args none;
    h.last_write = longest.execute(none, true).opt_time(0, 1);

    static pg::Statement aside(
        "SELECT pg_catalog.count(*) FROM dtm.trans WHERE attention IS NOT NULL"
        " AND status OPERATOR(pg_catalog.<>) ALL ('{succeed,failed}'::pg_catalog.text[])",
        {});
    h.unfinished_aside = aside.execute(none, true).int8(0, 1);
}

void read_server(Health& h) {
    static pg::Statement settings(
        "SELECT pg_catalog.current_setting('fsync')::pg_catalog.bool,"
        " pg_catalog.current_setting('synchronous_commit'),"
        " pg_catalog.current_setting('synchronous_standby_names'),"
        " pg_catalog.current_setting('shared_preload_libraries'),"
        " (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_replication"
        "   WHERE sync_state OPERATOR(pg_catalog.=) 'async'),"
        " (SELECT extversion FROM pg_catalog.pg_extension"
        "   WHERE extname OPERATOR(pg_catalog.=) 'dtm_pg')",
        {});
    pg::Args none;
    const pg::Rows rows = settings.execute(none, true);
    h.fsync = rows.boolean(0, 1);
    h.synchronous_commit = rows.text(0, 2);
    h.synchronous_standby_names = rows.text(0, 3);
    h.preload_libraries = rows.text(0, 4);
    h.asynchronous_standbys = rows.int8(0, 5);
    h.extension_version = rows.opt_text(0, 6).value_or("");
}

// Settings of roles and databases are of sessions that begin; who asks is in another one.
void read_lazy(Health& h) {
    const pg::Rows rows = pg::execute(R"(
SELECT CASE WHEN s.setrole = 0 AND s.setdatabase = 0 THEN 'all roles' ELSE
         concat_ws(' in ', CASE s.setrole WHEN 0 THEN NULL ELSE 'role ' || s.setrole::regrole END,
                   CASE s.setdatabase WHEN 0 THEN NULL ELSE 'this database' END) END
  FROM pg_db_role_setting s CROSS JOIN LATERAL unnest(s.setconfig) c (setting)
  JOIN pg_database d ON d.datname = current_database()
 WHERE c.setting ~* '^synchronous_commit=(off|false|no|0)$'
   AND s.setdatabase IN (0, d.oid)
   AND (s.setrole = 0 OR EXISTS (
     SELECT FROM pg_proc p JOIN pg_depend m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
       JOIN pg_extension e ON e.oid = m.refobjid AND m.refclassid = 'pg_extension'::regclass
      WHERE e.extname = 'dtm_pg' AND p.proname IN ('dtm_submit', 'dtm_prepare')
        AND has_function_privilege(s.setrole, p.oid, 'EXECUTE')))
 ORDER BY 1)");
    for (std::size_t i = 0; i < rows.size(); ++i) h.commit_lazily.emplace_back(rows.text(i, 1));
}

void read_prepared(Health& h) {
    // Its locks are those of the virtual transaction that it had, which holds its number, too. Of
    // no process: pid is NULL.
    static pg::Statement prepared(
        "SELECT p.gid, p.prepared, pg_catalog.count(*) OVER ()"
        " FROM pg_catalog.pg_prepared_xacts p"
        " WHERE p.database OPERATOR(pg_catalog.=) pg_catalog.current_database()"
        " AND EXISTS (SELECT FROM pg_catalog.pg_locks x JOIN pg_catalog.pg_locks l"
        "   ON l.virtualtransaction OPERATOR(pg_catalog.=) x.virtualtransaction"
        "   WHERE x.transactionid OPERATOR(pg_catalog.=) p.transaction"
        "   AND x.pid IS NULL AND l.pid IS NULL"
        "   AND l.relation IN (SELECT c.oid FROM pg_catalog.pg_class c"
        "     WHERE c.relnamespace OPERATOR(pg_catalog.=) 'dtm'::pg_catalog.regnamespace::oid))"
        " ORDER BY p.prepared LIMIT 1",
        {});
    pg::Args none;
    const pg::Rows rows = prepared.execute(none, true);
    if (rows.size() == 0) return;
    h.oldest_prepared_name = rows.text(0, 1);
    h.oldest_prepared = rows.time(0, 2);
    h.prepared = rows.int8(0, 3);
}

void read_barrier(Health& h) {
    // What is paused or put aside is never due; each of the two has an index of its own.
    static pg::Statement oldest(
        "SELECT LEAST((SELECT pg_catalog.min(create_time) FROM dtm.trans"
        "   WHERE next_cron_time IS NOT NULL),"
        " (SELECT pg_catalog.min(create_time) FROM dtm.trans WHERE attention IS NOT NULL"
        "   AND status OPERATOR(pg_catalog.<>) ALL ('{succeed,failed}'::pg_catalog.text[])))",
        {});
    pg::Args none;
    h.oldest_unfinished = oldest.execute(none, true).opt_time(0, 1);
    h.barrier_table = barrier_table_exists();
    if (!h.barrier_table) return;
    h.barrier_is_ours = barrier_table_is_known();
    const BarrierTable table(BarrierTable::Use::read);
    h.barrier_runs_code = !table.is_plain();
}

}  // namespace

Health health(pg::UnixTime late_before) {
    const pg::SafeSearchPath path;
    Health h;
    read_rows(h, late_before);
    read_server(h);
    read_lazy(h);
    read_prepared(h);
    read_barrier(h);
    return h;
}

}  // namespace dtm::store
