"""Clients of the API may do what dtm.api_role may do in SQL: the levels of dtm_grant() bind both doors (design 13)."""
import pytest

from api import findings
from cluster import wait_until

URL = "http://127.0.0.1:9/levels"
ROLES = {"levels_none": (), "levels_submit": ("submit",), "levels_observe": ("observe",), "levels_admin": ("admin",),
         "levels_both": ("submit", "admin"), "Levels of all": ("submit", "observe", "admin")}

# What a client asks for, the function that does the same in SQL, and the levels that give it.
SUBMIT, SEE, OBSERVE, ADMIN = {"submit"}, {"submit", "observe", "admin"}, {"observe", "admin"}, {"admin"}
REQUESTS = (
    (lambda api: api.post("prepare", gid=api.new_gid(), trans_type="tcc"), "dtm_prepare", SUBMIT),
    (lambda api: api.post("submit", gid=api.new_gid(), trans_type="tcc"), "dtm_submit", SUBMIT),
    (lambda api: api.post("abort", gid="levels", trans_type="tcc"), "dtm_abort", SUBMIT),
    (lambda api: api.post("registerBranch", gid="levels", trans_type="tcc", branch_id="01", data="", confirm=URL,
                          cancel=URL), "dtm_register_branch", SUBMIT),
    (lambda api: api.post("prepareWorkflow", gid=api.new_gid(), trans_type="workflow", query_prepared=URL,
                          custom_data='{"name":"w","data":""}'), "dtm_prepare", SUBMIT),
    (lambda api: api.rpc("prepare", {"gid": api.new_gid(), "trans_type": "tcc"}), "dtm_prepare", SUBMIT),
    (lambda api: api.get("query", gid="levels"), "dtm_query", SEE),
    (lambda api: api.get("all"), "dtm_query", SEE),
    (lambda api: api.get("scanKV", cat="topics"), "dtm.observe_all", OBSERVE),
    (lambda api: api.get("queryKV", cat="topics"), "dtm.observe_all", OBSERVE),
    (lambda api: api.post("forceStop", gid="levels"), "dtm_force_stop", ADMIN),
    (lambda api: api.post("resetNextCronTime", gid="levels"), "dtm_retry_now", ADMIN),
    (lambda api: api.get("resetCronTime"), "dtm_retry_all", ADMIN),
    (lambda api: api.get("subscribe", topic="levels", url=URL), "dtm_subscribe", ADMIN),
    (lambda api: api.get("unsubscribe", topic="levels", url=URL), "dtm_unsubscribe", ADMIN),
    (lambda api: api.request("DELETE", "/api/dtmsvr/topic/levels"), "dtm_drop_topic", ADMIN),
)


def refusal(answer):
    """What an answer says of rights; empty: nothing."""
    message = answer.json.get("message") or (answer.json.get("error") or {}).get("message", "")
    return message if "dtm_grant(" in message else ""


@pytest.fixture
def as_role(api):
    """Sets dtm.api_role, and waits until it is in effect; gone afterwards."""
    def change(role):
        api.cluster.reload(dtm__api_role=role)
        wait_until(lambda: role in refusal(api.get("query", gid="levels")), f"{role} is in effect")
    yield change
    api.cluster.settings.pop("dtm.api_role")
    api.cluster.reload()
    wait_until(lambda: api.get("queryKV", cat="topics").status == 200, "the owner of the tables is it again")
    for role in ROLES:
        api.db.q(f"""do $$ begin perform dtm_revoke('"{role}"'); drop role "{role}";
                     exception when undefined_object then null; end $$""")


@pytest.mark.parametrize("role", ROLES)
def test_each_route_asks_for_the_level_of_its_function(api, as_role, role):
    levels = set(ROLES[role])
    regrole = '"' + role + '"'
    api.db.q(f"create role {regrole}")
    as_role(role)
    for ask, function, _ in REQUESTS:
        said = refusal(ask(api))
        assert f'"{role}"' in said and f"{function}()" in said, function
    assert api.db.one("select count(*) from dtm.trans where owner = %s::regrole", regrole) == 0
    assert api.db.one("select count(*) from dtm.topic where topic = 'levels'") == 0
    for level in levels:
        api.db.q("select dtm_grant(%s::regrole, %s)", regrole, level)
    for ask, function, needed in REQUESTS:
        said = refusal(ask(api))
        assert bool(said) == (not needed & levels), (function, said)
    # What asks no table is for whoever may talk to the API.
    assert api.get("newGid").status == 200 and api.request("GET", "/api/metrics").status == 200
    told = "may not execute dtm_submit(), dtm_prepare()" if "submit" not in levels else ""

    def complaints():
        return "".join(f for f in findings(api) if "API server" in f)
    wait_until(lambda: told in complaints() if told else not complaints(), "dtm_check says so")
    assert not told or f"SELECT dtm_grant('{role}', 'submit')" in complaints()
    # The hint is a statement that works.
    if role.startswith("Levels"):
        api.db.q("select dtm_revoke(%s::regrole)", regrole)
        said = refusal(api.get("query", gid="levels"))
        api.db.q(said[said.index("SELECT"):said.rindex(" allows")])
        assert refusal(api.get("query", gid="levels")) == ""


def test_rights_that_come_and_go_while_the_api_runs(api, as_role):
    """GRANT, REVOKE, membership and SUPERUSER count from the next request on."""
    role = "levels_both"
    api.db.q(f"create role {role}")
    as_role(role)

    def may():
        return not refusal(api.post("prepare", gid=api.new_gid(), trans_type="tcc"))
    assert not may()
    for give, take in (("select dtm_grant('levels_both', 'submit')", "select dtm_revoke('levels_both')"),
                       ("grant levels_giver to levels_both", "revoke levels_giver from levels_both"),
                       ("alter role levels_both superuser", "alter role levels_both nosuperuser"),
                       ("grant execute on function dtm_prepare(jsonb) to public",
                        "revoke execute on function dtm_prepare(jsonb) from public")):
        if "giver" in give:
            api.db.q("create role levels_giver")
            api.db.q("select dtm_grant('levels_giver', 'submit')")
        api.db.q(give)
        assert may(), give
        api.db.q(take)
        assert not may(), take
    api.db.q("select dtm_revoke('levels_giver')")
    api.db.q("drop role levels_giver")
