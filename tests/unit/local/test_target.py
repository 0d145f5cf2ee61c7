import pytest

from examples.quickstart.target import Failed, choose

FOREIGN = {"DEEPSEEK_CLUSTER": "existing", "KUBECONFIG": "/k", "IMAGE_REGISTRY": "registry.example.com/team/"}


def nothing(_: str) -> None:
    return None


def test_a_kubeconfig_alone_never_makes_a_cluster_the_target() -> None:
    assert choose({"KUBECONFIG": "/production"}).is_local
    assert choose({"KUBECONFIG": "/production", "IMAGE_REGISTRY": "r"}).kubectl[1:] == ["-m", "local", "kubectl"]


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"DEEPSEEK_CLUSTER": "production"}, "local, existing or kind"),
        (FOREIGN | {"KUBECONFIG": ""}, "name it in KUBECONFIG"),
        (FOREIGN | {"IMAGE_REGISTRY": ""}, "needs IMAGE_REGISTRY"),
    ],
)
def test_half_a_choice_is_refused(environment: dict[str, str], said: str) -> None:
    with pytest.raises(Failed, match=said):
        choose(environment, which=str)


def test_an_existing_cluster_pulls_what_is_pushed_to_its_registry() -> None:
    target = choose(FOREIGN, which=str)
    assert not target.is_local
    assert target.image("gateway") == "registry.example.com/team/deepseek-gateway:dev"
    assert target.pushes
    assert "gateway.image.pullPolicy=Always" in target.values()


def test_images_that_are_there_are_neither_built_nor_pulled_again() -> None:
    target = choose(FOREIGN | {"IMAGE_TAG": "1.2"}, which=str)
    assert target.image("runtime") == "registry.example.com/team/deepseek-runtime:1.2"
    assert not target.pushes
    assert not any("pullPolicy" in word for word in target.values())


def test_clients_of_the_path_come_before_our_own() -> None:
    own = choose(FOREIGN, which=lambda name: name if name == "kubectl" else None, build=lambda: "/built")
    assert (own.kubectl, own.helm) == (["kubectl"], ["/built/kube", "helm"])
    kind = choose({"DEEPSEEK_CLUSTER": "kind"}, which=nothing, build=lambda: "/built")
    assert kind.kubectl == ["/built/kube", "kubectl", "--context", "kind-deepseek"]
