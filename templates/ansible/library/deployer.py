"""One module for all that a verb does on a host; `action` names it.

`spec` is base64 of JSON, so that no value of a user is ever taken for a template.
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.deployer_host import actions


def main():
    module = AnsibleModule(
        argument_spec={
            "action": {"type": "str", "required": True, "choices": sorted(actions.ACTIONS)},
            "spec": {"type": "str", "required": True, "no_log": True},
        },
        supports_check_mode=True,
    )
    ok, result = actions.perform(
        module.params["action"],
        module.params["spec"],
        dry=module.check_mode,
    )
    if ok:
        module.exit_json(**result)
    module.fail_json(**result)


if __name__ == "__main__":
    main()
