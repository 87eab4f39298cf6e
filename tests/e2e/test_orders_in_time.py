"""A verb that has committed is heard before anything else leaves, also by a coordinator that was waiting meanwhile:
here for a synchronous standby that does not come, while the answer arrives that releases the next step."""
import threading

import pytest

from api import Api, listen_settings, wait_listening
from cluster import wait_until
from dtm import step

LONG = 1000  # seconds: nothing happens because of it during a test
ONE_AT_A_TIME = {"dtm.max_in_flight_per_host": 1, "autovacuum": "off"}


class Scene:
    """A saga whose first step is being called, and a coordinator that is kept in a commit. The answer of the first
    step has come when another saga, that stands in line behind it, is called."""

    def __init__(self, db, one, two):
        self.db, self.one, self.two = db, one, two
        self.name = db.new_gid("gate")
        db.q("set synchronous_commit = local")
        self.gid = db.saga(step(one.url(f"hold/{self.name}"), None, {}), step(two.url("ok/b"), None, {}),
                           request_timeout=LONG)
        one.wait_calls(1, gid=self.gid)
        self.next = db.saga(step(one.url("ok/next"), None, {}))
        wait_until(lambda: db.q("select in_flight, waiting from dtm.stat_endpoint where endpoint = %s",
                                one.url("")[:-1]) == [(1, 1)], "the other stands in line")

    def keep_it(self):
        self.db.saga(step(self.two.url("error/again"), None, {}), retry_interval=1)  # something to commit
        self.db.cluster.reload(synchronous_standby_names="nobody")
        wait_until(self.is_kept, "the coordinator waits for its standby")

    def is_kept(self):
        return self.db.one("select wait_event from pg_stat_activity where backend_type = 'dtm coordinator'"
                           " and datname = current_database()") == "SyncRep"

    def let_others_come(self):
        """Many that are read in the same turn as the verb: what left before that is called by then."""
        self.db.q("select count(dtm_submit('msg', array[dtm_step('', null)], %s || i)) from generate_series(1, 900) i",
                  self.db.new_gid("other"))

    def answer(self):
        self.one.release(self.name)
        self.one.wait_calls(1, gid=self.next)

    def let_it_go(self):
        self.db.cluster.reload(synchronous_standby_names="")
        self.db.wait(self.next, "succeed")

    def is_not_called_again(self):
        self.db.passed_by(self.two)
        assert self.two.calls(gid=self.gid) == []


@pytest.mark.settings(ONE_AT_A_TIME)
@pytest.mark.parametrize("verb", ["dtm_skip(%s, '02')", "dtm_force_stop(%s)", "dtm_pause(%s)"])
def test_verbs(own_cluster, session, one, two, verb):
    scene = Scene(session(own_cluster), one, two)
    scene.keep_it()
    scene.let_others_come()
    scene.db.q(f"select {verb}", scene.gid)
    scene.answer()
    scene.let_it_go()
    if "skip" in verb:
        scene.db.wait(scene.gid, "succeed")
    scene.is_not_called_again()


@pytest.mark.settings({**ONE_AT_A_TIME, **listen_settings()})
def test_force_stop_of_the_api(own_cluster, session, one, two):
    db = session(own_cluster)
    api = wait_listening(Api(own_cluster, db))
    scene = Scene(db, one, two)
    own_cluster.reload(synchronous_standby_names="nobody")
    got = []
    client = threading.Thread(target=lambda: got.append(api.post("forceStop", gid=scene.gid)))
    client.start()
    wait_until(scene.is_kept, "the coordinator waits for its standby")
    scene.answer()
    scene.let_it_go()
    client.join()
    assert got[0].status == 200, got
    scene.is_not_called_again()
    assert db.status(scene.gid) == "failed"
