import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod';
import { defaultCacheDir } from '../../src/demo/artifacts.ts';
import { withFileLock } from '../../src/demo/file-lock.ts';
import { runCommand } from '../../src/demo/run-command.ts';

const HELM = 'helm.sh/helm/v3/cmd/helm@v3.22.0';
const KUBECONFORM = 'github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0';
/** The Python package that carries Kubernetes' own JSON schemas: kubeconform would fetch them from GitHub. */
const SCHEMAS = 'kubernetes-validate==1.37.0';
const SCHEMAS_WITHIN = 'kubernetes_validate/kubernetes-json-schema';

export interface KubernetesTools {
  readonly helm: string;
  readonly kubeconform: string;
  /** For kubeconform's `-schema-location`. */
  readonly schemas: string;
}

const dir = join(defaultCacheDir(), 'kubernetes-tools-3.22.0-0.8.0-1.37.0');
const tools: KubernetesTools = {
  helm: join(dir, 'bin/helm'),
  kubeconform: join(dir, 'bin/kubeconform'),
  schemas: join(dir, 'schemas/{{.NormalizedKubernetesVersion}}/{{.ResourceKind}}{{.KindSuffix}}.json'),
};
const DONE = join(dir, 'done');

/** Whether they are there: to compile them takes minutes, once for a machine. */
export function hasKubernetesTools(): boolean {
  return existsSync(DONE);
}

/** @throws {Error} this machine has no Go or no Python, or cannot fetch what they compile */
export async function kubernetesTools(versions: readonly string[]): Promise<KubernetesTools> {
  await mkdir(dir, { recursive: true });
  await withFileLock(join(dir, '.lock'), async () => {
    if (hasKubernetesTools()) return;
    for (const module of [HELM, KUBECONFORM]) await run('go', ['install', module], { GOBIN: join(dir, 'bin') });
    await run('python3', ['-m', 'pip', 'install', '-q', '--no-deps', '--target', join(dir, 'python'), SCHEMAS]);
    for (const version of versions) await bundleSchemas(version);
    await writeFile(DONE, '');
  });
  return tools;
}

const schema = z.record(z.string(), z.unknown());
const definitions = z.object({ $defs: schema });

/** Writes each schema with all that it refers to in the same file, as kubeconform wants it. */
async function bundleSchemas(version: string): Promise<void> {
  const from = join(dir, 'python', SCHEMAS_WITHIN, `v${version}-local-strict`);
  const into = join(dir, 'schemas', `v${version}`);
  await mkdir(into, { recursive: true });
  const read = async (name: string): Promise<unknown> => {
    const text = await readFile(join(from, name), 'utf8');
    return JSON.parse(text.replaceAll(/"[\w/]*_definitions\.json#/g, '"#'));
  };
  const all = definitions.parse(await read('_definitions.json')).$defs;
  const kinds = (await readdir(from)).filter((name) =>
    /^(configmap|secret|service|statefulset)(-\w+)*\.json$/.test(name),
  );
  for (const name of kinds) {
    const bundled = { ...schema.parse(await read(name)), $defs: all };
    await writeFile(join(into, name), JSON.stringify(bundled));
  }
}

async function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<void> {
  const { exitCode, output } = await runCommand('nice', ['-n', '10', command, ...args], {
    env: { ...process.env, ...env },
  });
  if (exitCode !== 0) throw new Error(`${command} ${args.join(' ')} failed:\n${output}`);
}
