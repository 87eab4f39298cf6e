"""dtm's own PostgreSQL store as a dtm server leaves it: its tables, and rows in every state of a transaction."""
import json
from dataclasses import dataclass, field

TABLES = """
create schema {schema};
create sequence {schema}.trans_global_seq;
create table {schema}.trans_global (
  id bigint not null default nextval('{schema}.trans_global_seq') primary key,
  gid varchar(128) not null constraint gid unique, trans_type varchar(45) not null, status varchar(45) not null,
  query_prepared varchar(1024) not null, protocol varchar(45) not null,
  create_time timestamp(0) with time zone, update_time timestamp(0) with time zone,
  finish_time timestamp(0) with time zone, rollback_time timestamp(0) with time zone,
  options varchar(1024) default '', custom_data varchar(1024) default '', next_cron_interval int,
  next_cron_time timestamp(0) with time zone, owner varchar(128) not null default '', ext_data text,
  result varchar(1024) default '', rollback_reason varchar(1024) default '');
create index owner on {schema}.trans_global (owner);
create index status_next_cron_time on {schema}.trans_global (status, next_cron_time);
create sequence {schema}.trans_branch_op_seq;
create table {schema}.trans_branch_op (
  id bigint not null default nextval('{schema}.trans_branch_op_seq') primary key,
  gid varchar(128) not null, url varchar(1024) not null, data text, bin_data bytea, branch_id varchar(128) not null,
  op varchar(45) not null, status varchar(45) not null, finish_time timestamp(0) with time zone,
  rollback_time timestamp(0) with time zone, create_time timestamp(0) with time zone,
  update_time timestamp(0) with time zone, constraint gid_branch_uniq unique (gid, branch_id, op));
create sequence {schema}.kv_seq;
create table {schema}.kv (
  id bigint not null default nextval('{schema}.kv_seq') primary key,
  cat varchar(45) not null, k varchar(128) not null, v text, version bigint default 1,
  create_time timestamp(0) with time zone, update_time timestamp(0) with time zone, constraint uniq_k unique (cat, k));
"""
OPS = {"saga": ("compensate", "action"), "msg": ("action",), "tcc": ("cancel", "confirm"), "xa": ("rollback", "commit")}
WORDS = {"p": "prepared", "s": "succeed", "f": "failed"}


@dataclass
class Branch:
    """Rows of trans_branch_op: an URL and a state (p, s, f) for each of the type's operations."""
    urls: tuple
    states: str
    body: bytes = b'{"n": 1}'
    branch_id: str = ""


@dataclass
class Old:
    """A schema with dtm's tables."""
    db: object
    schema: str = "old"
    gids: list = field(default_factory=list)

    def create(self):
        self.db.q(TABLES.format(schema=self.schema))
        return self

    def put(self, trans_type, status, *branches, gid=None, age="1 hour", next_time="-1 second", options=None,
            custom_data="", query="", reason=""):
        """A transaction; `age` and `next_time` are intervals from now."""
        gid = gid or self.db.new_gid(trans_type)
        self.gids.append(gid)
        self.db.q(f"""insert into {self.schema}.trans_global (gid, trans_type, status, query_prepared, protocol,
                      create_time, update_time, options, custom_data, next_cron_interval, next_cron_time,
                      rollback_reason) values (%s, %s, %s, %s, 'http', now() - %s::interval, now(), %s, %s, 10,
                      now() + %s::interval, %s)""", gid, trans_type, status, query, age,
                  json.dumps({"concurrent": False, **(options or {})}), custom_data, next_time, reason)
        for n, branch in enumerate(branches, 1):
            for op, url, state in zip(OPS[trans_type], branch.urls, branch.states):
                self.db.q(f"""insert into {self.schema}.trans_branch_op (gid, url, bin_data, branch_id, op, status,
                              finish_time, create_time, update_time) values (%s, %s, %s, %s, %s, %s,
                              case when %s then now() end, now() - %s::interval, now())""",
                          gid, url, branch.body, branch.branch_id or f"{n:02}", op, WORDS[state], state != "p", age)
        return gid

    def left(self):
        """The gids that are still there."""
        return sorted(g for g, in self.db.q(f"select gid from {self.schema}.trans_global"))
