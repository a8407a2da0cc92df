"""The section [conformance] of pipeline.toml: when there are conformance tests, on which cluster, and the suite."""

from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints

from ci_pipeline.sections import Place, Section

Digest = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")]

# The kinds of cluster that are installed on hosts of their own.
INSTALLED: Final = ("k3s", "kubeadm", "openshift-ansible")


class K3s(Section):
    """Cluster k3s: one binary."""

    program: Place = Field("", description="cluster k3s: path or URL of the k3s binary")
    sha256: Digest = Field("", description="cluster k3s: its checksum, in hex")
    arguments: list[str] = Field([], description="cluster k3s: further arguments of `k3s server`")


class Kubeadm(Section):
    """Cluster kubeadm: the image has kubeadm, kubelet and a container runtime."""

    network: Place = Field("", description="cluster kubeadm: path or URL of the manifest of the pod network")
    network_sha256: Digest = Field("", description="cluster kubeadm: checksum of that manifest; a URL needs it")
    arguments: list[str] = Field([], description="cluster kubeadm: further arguments of `kubeadm init`")


class OpenshiftAnsible(Section):
    """Cluster openshift-ansible: the Atomic OpenShift Installer's playbooks."""

    source: Place = Field(
        "https://github.com/openshift/openshift-ansible",
        description="cluster openshift-ansible: git URL or path of the playbooks",
    )
    release: str = Field("openshift-ansible-3.9.33-1", description="cluster openshift-ansible: their tag or branch")
    program: str = Field("", description="cluster openshift-ansible: an ansible-playbook of their time")
    openshift_release: str = Field("v3.9", description="cluster openshift-ansible: the OpenShift release to install")
    variables: dict[str, Any] = Field({}, description="cluster openshift-ansible: further variables of the inventory")


class ControlPlane(Section):
    """Cluster control-plane: Kubernetes' API alone, without kubelets, on the builder. For the demo and for tests."""

    programs: str = Field(
        "~/.cache/ci-pipeline/kubernetes", description="cluster control-plane: folder `make kubernetes` has filled"
    )


class Conformance(Section):
    """When there are conformance tests, on which cluster, and the suite."""

    when: Literal["always", "with-image", "never"] = Field(
        "with-image", description="always: without a new image, on the branch's newest; with-image: on a new image only"
    )
    cluster: Literal["none", "existing", "k3s", "kubeadm", "openshift-ansible", "control-plane"] = Field(
        "none", description="none: skip the tests; existing: use kubeconfig; else who installs one: docs/conformance.md"
    )
    hosts: int = Field(1, ge=1, le=10, description="hosts of an installed cluster; the first is the control plane")
    internet: bool = Field(default=False, description="whether these hosts reach the internet")
    kubeconfig: str = Field("", description="cluster existing: path of its kubeconfig")
    connection: str = Field("", description="cluster existing: id of an Airflow connection with the kubeconfig instead")
    ready_seconds: float = Field(600, ge=0, description="time a cluster has to become ready; 0: take it as it is")
    suite: Literal["command", "e2e", "hydrophone", "openshift-tests"] = Field(
        "command", description="who runs the tests: docs/conformance.md"
    )
    command: list[str] = Field([], description="suite command: program and arguments that leave JUnit in $REPORT_DIR")
    program: str = Field("", description="path of the suite's program; default: its usual name on the builder's PATH")
    focus: str = Field(r"\[Conformance\]", description="regular expression of the specs to run")
    skip: str = Field("", description="regular expression of those not to run")
    parallel: int = Field(1, ge=1, le=100, description="specs run side by side; suite e2e needs ginkgo for it")
    arguments: list[str] = Field([], description="further arguments of the suite's program")
    look_seconds: float = Field(
        30, ge=1, le=600, description="seconds between two looks at a cluster that comes up, and at a suite that runs"
    )
    k3s: K3s = Field(default_factory=K3s)
    kubeadm: Kubeadm = Field(default_factory=Kubeadm)
    openshift_ansible: OpenshiftAnsible = Field(default_factory=OpenshiftAnsible)
    control_plane: ControlPlane = Field(default_factory=ControlPlane)
