"""What the operator, the gateway and people may do, as the chart grants it."""

import pytest

from tests.integration.api import Api
from tests.integration.conftest import GATEWAY, OPERATOR, RELEASE_NAMESPACE, Kubectl

SECRETS = "/api/v1/namespaces/{}/secrets"
REFUSED = [
    ("GET", SECRETS.format("{tenant}")),
    ("GET", SECRETS.format("{tenant}") + "/token"),
    ("GET", "/api/v1/secrets"),
    ("GET", SECRETS.format(RELEASE_NAMESPACE)),
    ("GET", SECRETS.format(RELEASE_NAMESPACE) + "/other"),
    ("POST", SECRETS.format("{tenant}")),
    ("DELETE", "/api/v1/namespaces/{tenant}/pods/x"),
    ("POST", "/api/v1/namespaces/{tenant}/pods"),
    ("POST", "/api/v1/namespaces/{tenant}/configmaps"),
    ("DELETE", "/apis/deepseek-operator.io/v1alpha1/namespaces/{tenant}/deepseekmodels/x"),
    ("PUT", "/apis/deepseek-operator.io/v1alpha1/namespaces/{tenant}/inferenceservices/x"),
    ("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/{tenant}/rolebindings"),
    ("POST", "/api/v1/namespaces/{tenant}/serviceaccounts/default/token"),
]


@pytest.mark.parametrize("account", [OPERATOR, GATEWAY])
@pytest.mark.parametrize(("method", "path"), REFUSED, ids=str)
def test_nobody_gets_at_a_tenants_secrets_or_pods(
    account: str, method: str, path: str, api: Api, namespace: str
) -> None:
    answer = api.acting(account).request(method, path.format(tenant=namespace), {} if method != "GET" else None)
    assert answer.code == 403, answer.body


def test_the_operator_may_read_its_master_key_and_no_route_may_be_written_by_the_gateway(api: Api) -> None:
    own = SECRETS.format(RELEASE_NAMESPACE)
    assert api.acting(OPERATOR).get(f"{own}/deepseek-operator-master").code in {200, 404}
    assert api.acting(GATEWAY).get(f"{own}/deepseek-operator-master").code == 403
    routes = f"/api/v1/namespaces/{RELEASE_NAMESPACE}/configmaps"
    assert api.acting(GATEWAY).request("POST", routes, {"metadata": {"name": "route-x"}}).code == 403


ROLES = ("view", "edit", "admin")


@pytest.mark.parametrize("role", ROLES)
def test_people_have_what_their_role_in_the_cluster_says(role: str, api: Api, namespace: str, kubectl: Kubectl) -> None:
    user = f"{role}-of-{namespace}"
    kubectl("create", "rolebinding", user, "-n", namespace, f"--clusterrole={role}", f"--user={user}")

    def may(verb: str, resource: str, subresource: str = "") -> bool:
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": user,
                "resourceAttributes": {
                    "namespace": namespace,
                    "verb": verb,
                    "group": "deepseek-operator.io",
                    "resource": resource,
                    "subresource": subresource,
                },
            },
        }
        answer = api.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review).ok()
        return bool(answer["status"]["allowed"])

    rank = ROLES.index(role)
    for kind in ("deepseekmodels", "trainingruns", "inferenceservices"):
        assert may("list", kind)
        assert may("create", kind) == (rank >= 1)
        assert not may("patch", kind, "status")
    assert may("update", "inferenceservices", "scale") == (rank >= 1)
    assert may("infer", "inferenceservices") == (rank >= 2)
