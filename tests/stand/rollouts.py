"""A gate file with a stage for every way that a rollout can go, for tests that walk them."""

import shutil
from pathlib import Path
from typing import Final

from stand import control
from stand.api import Stand
from stand.say import StandError

HOOK: Final = "paths-hook"
"""The function that is asked before traffic in the stage `hooked`."""

_STAGES: Final = """
  at-once: {}
  baked: {strategy: {type: all-at-once, bake: 2s}}
  gradual: {strategy: {type: canary, percent: 10, bake: 2s}}
  linear: {strategy: {type: linear, percent: 40, every: 2s}}
  stepped:
    strategy:
      type: steps
      steps: [{percent: 5, bake: 2s}, {percent: 50, bake: 2s}, {percent: 100, bake: 2s}]
  long: {strategy: {type: canary, percent: 10, bake: 10m}}
  smoked:
    strategy: {type: canary, percent: 10, bake: 2s}
    smoke: {payload: {ping: true}, expect: {status: ok}, timeout: 6s}
  slow-smoke: {smoke: {payload: {ping: true}, timeout: 20s}}
  hooked: {smoke: {hook: paths-hook}}
  alarmed:
    strategy: {type: canary, percent: 10, bake: 10m}
    watch: {alarms: ["{function}-{stage}"]}
  fixed:
    strategy: {type: canary, percent: 50, bake: 5s}
    watch: {alarms: ["{function}-{stage}", "{function}-{stage}-other"], fix_forward: {silent_within: 20s}}
  fixed-asked:
    approval: {expires: 10m}
    watch: {alarms: ["{function}-{stage}"], fix_forward: {silent_within: 20s}}
  observed:
    strategy: {type: canary, percent: 50, bake: 5s}
    watch: {alarms: ["{function}-{stage}"], mode: observe}
  metered:
    strategy: {type: canary, percent: 50, bake: 1m}
    watch: {errors: {max_percent: 5, min_samples: 5}}
  judged:
    strategy: {type: canary, percent: 50, bake: 12s}
    watch: {alarms: ["{function}-{stage}"], errors: {max_percent: 30, min_samples: 5}, unclear: fail}
  no-data-passes:
    strategy: {type: canary, percent: 10, bake: 2s}
    watch: {errors: {max_percent: 5, min_samples: 5}, unclear: pass}
  no-data-fails:
    strategy: {type: canary, percent: 10, bake: 2s}
    watch: {errors: {max_percent: 5, min_samples: 5}, unclear: fail}
  no-data-extends:
    strategy: {type: canary, percent: 50, bake: 2s}
    watch: {errors: {max_percent: 60, min_samples: 5}, unclear: extend}
  bursty:
    strategy: {type: canary, percent: 50, bake: 1m}
    watch: {errors: {max_ratio: 2, min_samples: 50}, false_rollbacks: 0.1}
  batched:
    strategy: {type: all-at-once, bake: 20s}
    watch: {presets: [batch], unclear: fail}
  behind-rest:
    strategy: {type: all-at-once, bake: 20s}
    watch: {presets: [{name: api, api: "{function}", api_stage: "{stage}"}], unclear: fail}
  behind-http:
    strategy: {type: all-at-once, bake: 20s}
    watch: {presets: [{name: api, api_id: pathshttp1, api_stage: "{stage}"}], unclear: fail}
  fronted-observed:
    strategy: {type: canary, percent: 50, bake: 45s}
    watch: {presets: [url], mode: observe}
  fronted:
    strategy: {type: canary, percent: 50, bake: 30s}
    watch: {presets: [url], unclear: fail}
  asynchronous:
    strategy: {type: all-at-once, bake: 20s}
    watch: {presets: [async], unclear: fail}
  durable:
    strategy: {type: all-at-once, bake: 20s}
    watch: {presets: [durable], unclear: fail}
  advised-good:
    strategy: {type: all-at-once, bake: 2s}
    watch: {judge: {function: paths-judge-good}, unclear: fail}
  advised-bad:
    strategy: {type: all-at-once, bake: 2s}
    watch: {judge: {function: paths-judge-bad}}
  advised-slow:
    strategy: {type: all-at-once, bake: 2s}
    watch: {judge: {function: paths-judge-slow, timeout: 1s}, unclear: fail}
  advised-wrong:
    strategy: {type: all-at-once, bake: 2s}
    watch: {judge: {function: paths-judge-wrong}, unclear: fail}
  advised-gone:
    strategy: {type: all-at-once, bake: 2s}
    watch: {judge: {function: paths-judge-gone}, unclear: fail}
  asked: {approval: {expires: 10m}, strategy: {type: canary, percent: 10, bake: 2s}}
  expiring: {approval: {expires: 1m}}
  proven: {requires: {succeeded_in: at-once}}
  ordered: {order: pipeline}
  ordered-long: {order: pipeline, strategy: {type: canary, percent: 10, bake: 10m}}
  held: {strategy: {type: canary, percent: 10, bake: 2s}}
"""
_RULES: Final = """
  - name: paths forward
    issuer: stand
    claims: {project_id: "4700", ref_type: branch, ref: "**"}
    allow: {actions: [deploy, promote, abort], functions: [paths-*], stages: {all}}
  - name: paths both ways
    issuer: stand
    claims: {project_id: "4700", ref_type: tag, ref: v*}
    allow: {actions: [deploy, promote, rollback, abort], functions: [paths-*], stages: {all}}
  - name: paths in a hurry
    issuer: stand
    claims: {project_id: "4701"}
    allow: {actions: [deploy, promote, override-strategy], functions: [paths-*], stages: {all}}
  - name: paths that people approve
    issuer: stand
    claims: {project_id: "4710", ref_protected: "true", pipeline_source: web}
    allow: {actions: [approve, reject], functions: [paths-*], stages: [asked, expiring, fixed-asked, gradual]}
  - name: paths that a bot approves
    issuer: stand
    claims: {project_id: "4711", ref_protected: "true", pipeline_source: web, user_id: "90"}
    allow: {actions: [approve], functions: [paths-*], stages: [asked]}
  - name: paths within limits
    issuer: stand
    claims: {project_id: "4720"}
    allow: {actions: [deploy, abort], functions: [paths-*], stages: [at-once]}
    limits:
      per_hour: 5
      per_day: 20
      hours: {zone: Europe/Berlin, days: [mon, tue, wed, thu, fri, sat, sun], from: "00:00", to: "24:00"}
  - name: paths with a share
    issuer: stand
    claims: {project_id: "4721"}
    allow: {actions: [deploy, abort], functions: [paths-*], stages: [gradual]}
    limits: {unapproved_percent: 20}
  - name: paths that are fixed
    issuer: stand
    claims: {project_id: "4730"}
    allow: {actions: [deploy, abort, fix-forward], functions: [paths-*], stages: [fixed, fixed-asked]}
  - name: paths on hold
    issuer: stand
    claims: {project_id: "4712"}
    allow: {actions: [hold], functions: [paths-held-*], stages: [held]}
"""


def install(stand: Stand, directory: Path) -> None:
    """Write the gate file in force with these stages and rules added into `directory`, and install it.

    It stays: it only adds, and the next start of the stand or its tests brings the stand's own back.
    """
    state = control.State.load()
    if state is None:
        raise StandError("the stand is not up: make up")
    in_force = Path(state.gate_file)
    for keys in in_force.parent.glob("keys.json"):
        shutil.copy(keys, directory)
    gate = directory / "sluicegate.yaml"
    gate.write_text(with_paths(in_force.read_text()))
    stand.install_gate(gate)


def with_paths(text: str) -> str:
    """A gate file's text with these stages and rules."""
    names = [line.split(":")[0].strip() for line in _STAGES.splitlines() if line[:3].strip()]
    rules = _RULES.replace("{all}", f"[{', '.join(names)}]")
    for old, new in (
        ("\nfunctions:", f"{_STAGES.rstrip()}\nfunctions:"),
        ("\nrules:", "\n  paths-*: {}\nrules:"),
        ("\ndeny:", f"{rules.rstrip()}\ndeny:"),
    ):
        if text.count(old) != 1:
            raise StandError(f"the gate file in force has no place for {old.strip()}")
        text = text.replace(old, new)
    return text
