"""The launch files of docs/scaling.md are read by shells and YAML, and their commands parse."""

import importlib.util
import re
import subprocess
from pathlib import Path

import pytest

from tests import tiny
from tests.command_lines import Job, results
from tests.documents import Written

TEXT = (tiny.ROOT / 'docs/scaling.md').read_text()
VALUES = {  # of variables
  'SLURM_CPUS_PER_TASK': '12',
  'OMPI_COMM_WORLD_SIZE': '16',
  'OMPI_COMM_WORLD_RANK': '3',
  'JOB_COMPLETION_INDEX': '1',
}
# A bucket's name is in small letters; without gcsfs none is taken.
BUCKET = 'gs://bucket' if importlib.util.find_spec('gcsfs') else '/tmp/bucket'


def blocks(kind: str) -> list[str]:
  return re.findall(rf'^```{kind}\n(.*?)^```', TEXT, re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
  """The commands of ours in a file, with values for what a cluster sets."""
  text = re.sub(r'\\\n', ' ', text).replace('gs://BUCKET', BUCKET)
  found = re.findall(r"pspnet train [^'&\n]*", text)
  return [re.sub(r'"?\$(\w+)"?', lambda name: VALUES[name[1]], line) for line in found]


def job_set() -> tuple[str, str, dict]:
  """The name of the set and of its jobs, and what a job is."""
  [text] = blocks('yaml')
  whole = pytest.importorskip('yaml').safe_load(text)
  [jobs] = whole['spec']['replicatedJobs']
  return whole['metadata']['name'], jobs['name'], jobs['template']['spec']


def test_scripts_are_read_by_the_shell():
  scripts = blocks('bash')
  assert len(scripts) == 4
  for script in scripts:
    subprocess.run(['bash', '-n'], input=script, text=True, check=True)


def test_the_commands_have_the_flags_of_pspnet():
  _, _, job = job_set()
  texts = [*blocks('bash'), *job['template']['spec']['containers'][0]['args']]
  lines = [line for text in texts for line in commands(text)]
  assert len(lines) == 5
  jobs = [Job(Written('', line).words[1:], str(tiny.ROOT)) for line in lines]
  answers = zip(lines, results(jobs), strict=True)
  wrong = [f'{line}\n  {said}' for line, (status, said) in answers if status]
  assert not wrong, '\n'.join(wrong)


def test_the_job_set_starts_as_many_processes_as_it_says():
  name, jobs, job = job_set()
  [container] = job['template']['spec']['containers']
  [line] = commands(container['args'][0])
  assert f'--coordinator={name}-{jobs}-0-0.{name}:' in line
  assert job['parallelism'] == job['completions']
  assert f'--num_processes={job["completions"]} ' in line
  [rule] = job['podFailurePolicy']['rules']
  assert rule['onExitCodes']['containerName'] == container['name']
  assert job['template']['spec']['restartPolicy'] == 'Never'  # or there is no podFailurePolicy
  volumes = {volume['name'] for volume in job['template']['spec']['volumes']}
  assert volumes == {mount['name'] for mount in container['volumeMounts']}


def test_what_is_started_again_is_what_the_page_says():
  [said] = re.findall(r'start again by themselves after (.*?)not', TEXT, re.DOTALL)
  again = {int(number) for number in re.findall(r'\d+', said)}
  assert len(again) == 4
  [script] = [x for x in blocks('bash') if '#SBATCH' in x]
  [cases] = re.findall(r'^  ([\d |]+)\)$', script, re.MULTILINE)
  assert {int(number) for number in cases.split('|')} == again
  [rule] = job_set()[-1]['podFailurePolicy']['rules']
  assert not again & set(rule['onExitCodes']['values'])


def test_jax_looks_where_the_page_says():
  spec = importlib.util.find_spec('jax._src.clusters')
  folder = Path(spec.origin).parent
  sources = '\n'.join(path.read_text() for path in folder.glob('*.py'))
  table = TEXT.partition('### Where `--distributed` looks')[2].partition('## ')[0]
  variables = re.findall(r'`((?!NCCL)[A-Z][A-Za-z_]+)`', table)
  assert len(variables) >= 11
  assert [name for name in variables if name not in sources] == []
  assert "'8482'" in sources and "'55527'" in sources and '(65535 - 2**12 + 1)' in sources
  order = re.findall(r'import (\w+)Cluster as', (folder / '__init__.py').read_text())
  assert [x for x in order if x != 'Mpi4py'] == ['Ompi', 'Slurm', 'GkeTpu', 'GceTpu', 'K8s']
