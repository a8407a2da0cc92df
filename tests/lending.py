"""A provider for the tests of leases: a role whose hosts are files, in a project with all our other playbooks.

In the file is the path of the disk that the host would boot.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

_PROJECT: Final = Path(__file__).parents[1]
_PROVISION: Final = """\
- name: Make a host
  ansible.builtin.copy:
    {dest: "PLACE/{{ provision_lease }}", content: "{{ provision_disk | default('') }}", mode: "0600"}
- name: Take long
  ansible.builtin.wait_for: {path: "PLACE/ready", timeout: 120, sleep: 1}
  when: provision.duffy.pool == "slow"
- name: Have none
  ansible.builtin.fail: {msg: no host is free}
  when: provision.duffy.pool == "empty"
- name: Record the hosts
  record_hosts:
    lease: "{{ provision_lease }}"
    folder: "{{ provision_dir }}"
    provider: "{{ provision.provider }}"
    hosts: [{name: host-1, address: 192.0.2.7, user: root, arch: "{{ provision_arch }}", id: "{{ provision_lease }}"}]
  register: provisioned
"""
_TEARDOWN: Final = """\
- name: Be away
  ansible.builtin.fail: {msg: "the provider is away, key {{ lookup('env', 'CI_PIPELINE_PROVISION__DUFFY__KEY') }}"}
  when: provision.duffy.pool == "stuck"
- name: Remove the host
  ansible.builtin.file: {path: "PLACE/{{ provision_lease }}", state: absent}
"""
KEY: Final = "canary-of-duffy"


# What of a provider's section is the word that says how it is.
_WORDS: Final = {"duffy": "pool", "libvirt": "network"}


def project(folder: Path, place: Path, pool: str, provider: str = "duffy") -> dict[str, str]:
    """Make a project whose provider has its hosts in `place`; return the environment of who uses it.

    `pool` is how the provider is: "fine", "slow", "empty" or "stuck".
    """
    place.mkdir(exist_ok=True)
    playbooks = folder / "playbooks"
    if not playbooks.exists():
        shutil.copytree(_PROJECT / "playbooks", playbooks, symlinks=True)
        tasks = playbooks / "roles" / f"provider_{provider}" / "tasks"
        for name, text in (("provision", _PROVISION), ("teardown", _TEARDOWN)):
            said = text.replace("PLACE", str(place)).replace("duffy.pool", f"{provider}.{_WORDS[provider]}")
            (tasks / f"{name}.yml").write_text(f"---\n{said}", encoding="ascii")
    text = (_PROJECT / "pipeline.toml").read_text(encoding="utf-8")
    section = f'[provision]\nprovider = "{provider}"\npatience_seconds = 5\n[provision.{provider}]\n'
    section += f'{_WORDS[provider]} = "{pool}"\n' + ('username = "us"\n' if provider == "duffy" else "")
    (folder / "pipeline.toml").write_text(f"{text}\n{section}", encoding="utf-8")
    return {
        "CI_PIPELINE_PROJECT": str(folder),
        "CI_PIPELINE_CONFIG": str(folder / "pipeline.toml"),
        "CI_PIPELINE_PROVISION__DUFFY__KEY": KEY,
    }
