"""Who is let in, who is not, what each is told, and what happens while the API server is away."""

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import openai
import pytest
from deepseek_runtime.gateway.access import cache

from tests.unit.gateway.world import World, until, world

GOOD = {"model": "chat", "prompt": "x"}


def _swap(part: int, value: str) -> Callable[[str], str]:
    return lambda key: ".".join(value if index == part else text for index, text in enumerate(key.split(".")))


WRONG: list[Callable[[str], str]] = [
    _swap(3, "A" * 43), _swap(2, "nobody"), _swap(1, "team-z"), _swap(1, "../system"), _swap(2, "a%2Fb"),
    lambda key: key[:-1], lambda key: key + "x", lambda key: "sk-1234", lambda key: "dsk...", lambda key: "dsk.a.b",
]  # fmt: skip


async def test_a_wrong_key(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        it.kubernetes.allow("reader")
        key = it.kubernetes.put_key()
        for change in WRONG:
            async with it.openai(change(key)) as client:
                with pytest.raises(openai.AuthenticationError) as raised:
                    await client.completions.create(model="chat", prompt="x")
            assert raised.value.code == "invalid_api_key"
            assert raised.value.response.headers["www-authenticate"].startswith("Bearer")
        assert not it.engine.requests
        assert not it.of_kind("intent")


async def test_an_unknown_name_and_a_wrong_secret_look_the_same(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        key = it.kubernetes.put_key()
        answers = [await it.post(_swap(part, "other")(key), GOOD) for part in (2, 3)]
        assert answers[0] == answers[1]


async def test_no_key(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        for header in (None, "", "Basic YTpi", "Bearer", "Bearer  ", "Bearer clé"):
            status, body = await it.post(None, GOOD, **({} if header is None else {"Authorization": header}))
            assert (status, body["error"]["code"]) == (401, "invalid_api_key")
            assert "Authorization" in body["error"]["message"]


async def test_an_expired_key_says_so_to_its_owner_only(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        key = it.kubernetes.put_key(lifetime=timedelta(seconds=-1))
        status, body = await it.post(key, GOOD)
        assert (status, body["error"]["code"]) == (401, "api_key_expired")
        assert "expired" in body["error"]["message"]
        _, body = await it.post(_swap(3, "guess")(key), GOOD)
        assert body["error"]["code"] == "invalid_api_key"


async def test_a_config_map_without_the_label_is_no_key(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        it.kubernetes.allow("reader")
        key = it.kubernetes.put_key(labels={"deepseek-operator.io/api-key": "v2"})
        assert (await it.post(key, GOOD))[0] == 401


async def test_a_service_account_that_would_be_somebody_else_is_no_key(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        assert (await it.post(it.kubernetes.put_key(account="x:system:masters"), GOOD))[0] == 401


async def test_the_review_names_user_groups_and_service(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        it.kubernetes.allow("reader")
        key = it.kubernetes.put_key()
        for _ in range(3):
            assert (await it.post(key, GOOD))[0] == 200
        assert (it.kubernetes.calls["get"], it.kubernetes.calls["access"]) == (1, 1)
        review = it.kubernetes.reviews[0]
        assert review["user"] == "system:serviceaccount:team-a:reader"
        assert set(review["groups"]) == {
            "system:serviceaccounts", "system:serviceaccounts:team-a", "system:authenticated",
        }  # fmt: skip
        assert review["resourceAttributes"]["name"] == "chat"
        assert it.kubernetes.authorizations == {"Bearer gateway-token"}
        assert [record["decision"]["cached"] for record in it.of_kind("intent")] == [False, True, True]


async def test_without_a_role_binding_the_remedy_is_named(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        async with it.openai(it.kubernetes.put_key(account="stranger")) as client:
            with pytest.raises(openai.PermissionDeniedError) as raised:
                await client.completions.create(model="chat", prompt="x")
        for word in ("RoleBinding", "'infer'", "inferenceservices", "team-a", "system:serviceaccount:team-a:stranger"):
            assert word in raised.value.message
        denied = it.of_kind("denied")[0]
        assert (denied["user"], denied["service"]) == ("system:serviceaccount:team-a:stranger", "chat")


async def test_a_foreign_service_looks_like_none(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        key = it.kubernetes.put_key(namespace="team-b")
        answers = [await it.post(key, {**GOOD, "model": model}) for model in ("team-a/chat", "team-a/none")]
        assert [status for status, _ in answers] == [404, 404]
        texts = [str(body).replace("team-a/chat", "M").replace("team-a/none", "M") for _, body in answers]
        assert texts[0] == texts[1]
        assert it.kubernetes.calls["access"] == 2


async def test_an_unknown_model(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        key = it.kubernetes.put_key()
        for model in ("none", "a/b/c", "/chat", "chat/", "Chat", "chat:x", "../chat", "team-a/ chat"):
            status, body = await it.post(key, {**GOOD, "model": model})
            assert (status, body["error"]["code"], body["error"]["param"]) == (404, "model_not_found", "model")


async def test_a_token_of_the_gateways_audience(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        user = {"username": "ada", "uid": "7", "groups": ["ops"], "extra": {"scope": ["x"]}}
        good = {"authenticated": True, "audiences": ["deepseek-gateway"], "user": user}
        it.kubernetes.tokens = {
            "aa.bb.cc": good,
            "for.the.apiserver": {**good, "audiences": ["https://kubernetes.default.svc"]},
            "without.any.audience": {**good, "audiences": None},
        }
        it.kubernetes.allowed.add(("ada", "team-a", "chat"))
        assert (await it.post("aa.bb.cc", {**GOOD, "model": "team-a/chat"}))[0] == 200
        review = it.kubernetes.reviews[0]
        assert (review["user"], review["uid"], review["groups"]) == ("ada", "7", ["ops"])
        assert review["extra"] == {"scope": ["x"]}
        status, body = await it.post("aa.bb.cc", GOOD)
        assert status == 404
        assert "NAMESPACE/SERVICE" in body["error"]["message"]
        for token in ("for.the.apiserver", "without.any.audience", "un.kno.wn"):
            status, body = await it.post(token, GOOD)
            assert (status, body["error"]["code"]) == (401, "invalid_token")
        assert it.of_kind("intent")[0]["key"] is None


async def test_a_deleted_key_and_a_removed_binding_stop_working(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr("deepseek_runtime.gateway.access.keys.FRESH_SECONDS", 0.0)
    async with world(tmp_path) as it:
        key = it.kubernetes.put_key()
        it.kubernetes.allow("reader")
        assert (await it.post(key, GOOD))[0] == 200
        it.kubernetes.delete("team-a", "alice")
        assert (await it.post(key, GOOD))[0] == 401


async def test_a_key_made_anew_works_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepseek_runtime.gateway.access.keys._RENEWED_SECONDS", 0.0)
    async with world(tmp_path) as it:
        it.kubernetes.allow("reader")
        old = it.kubernetes.put_key()
        assert (await it.post(old, GOOD))[0] == 200
        new = it.kubernetes.put_key()
        assert (await it.post(new, GOOD))[0] == 200
        assert (await it.post(old, GOOD))[0] == 401


async def _away(it: World) -> str:
    key = it.kubernetes.put_key()
    it.kubernetes.allow("reader")
    assert (await it.post(key, GOOD))[0] == 200
    it.kubernetes.down = True
    # A minute goes by: what is remembered is no longer fresh.
    it.running.gateway.authorizer._cache._clock = lambda: time.monotonic() + 60
    it.running.gateway.authenticator._keys._cache._clock = lambda: time.monotonic() + 60
    return key


async def test_while_the_api_server_is_away_known_callers_go_on_and_the_audit_says_so(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        key = await _away(it)
        assert (await it.post(key, GOOD))[0] == 200
        assert it.of_kind("intent")[-1]["decision"] == {"allowed": True, "cached": True, "stale": True}
        status, body = await it.post(key, {**GOOD, "model": "other"})
        assert (status, body["error"]["code"]) == (503, "authorization_unavailable")
        status, body = await it.post(_swap(2, "bob")(key), GOOD)
        assert (status, body["error"]["code"]) == (503, "authentication_unavailable")


async def test_closed_means_closed(tmp_path: Path) -> None:
    async with world(tmp_path, stale_allow_seconds=0) as it:
        assert (await it.post(await _away(it), GOOD))[0] == 503


async def test_routes_follow_the_api_server(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with world(tmp_path) as it:
        table = it.running.gateway.routes
        await until(lambda: it.kubernetes.calls["watch"] == 1)
        it.kubernetes.put_route("http://127.0.0.1:9", served_name="moved")
        await until(lambda: _served(it) == "moved")
        it.kubernetes.put("system", "route-bad", {"deepseek-operator.io/route": "v1"}, {"route.json": "{}"})
        it.kubernetes.put_route("http://127.0.0.1:9", uid="younger", created=1_800_000_000, served_name="anew")
        await until(lambda: _served(it) == "anew")
        assert len(table) == 1
        it.kubernetes.delete("system", "route-younger")
        await until(lambda: _served(it) == "moved")
        it.kubernetes.gone = True
        it.kubernetes.break_watches()
        it.kubernetes.delete("system", "route-uid-team-a-chat")  # nobody watches: only a new list can show it
        await until(lambda: len(table) == 0)
        assert it.kubernetes.calls["list"] == 2
        assert "route-bad is not a route" in caplog.text


async def test_routes_survive_the_loss_of_the_api_server(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        await until(lambda: it.kubernetes.calls["watch"] == 1)
        it.kubernetes.down = True
        it.kubernetes.break_watches()
        it.kubernetes.put_route("http://127.0.0.1:9", served_name="later")
        assert _served(it) == "team-a-chat"
        it.kubernetes.down = False
        await until(lambda: _served(it) == "later")


def _served(it: World) -> str | None:
    route = it.running.gateway.routes.find("team-a", "chat")
    return route.served_name if route else None
