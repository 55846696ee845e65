/**
 * Runs the project's checks and tests and ends with one line, `N passed, N failed`, over all of them.
 *
 * `node --import tsx test/run.ts check integration`: `check` needs nothing but this machine's Node (types, lint,
 * layout, dependency direction, dead code, and the tests that open no server); `integration` runs on real servers; `long`
 * runs the long forms (support/forms.ts) of the tests that have one, and then a soak; `consumers` runs all of test/consumers. No test is run a second time.
 */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, relative } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { runCommand } from '../src/demo/run-command.ts';
import { prepareServers } from './support/cluster.ts';
import { CpuUsage } from './support/cpu-usage.ts';
import { buildJavaTools } from './support/java-tools.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const FAST_SUITES = ['unit', 'golden', 'contract', 'fault'];
/** To start a process takes longer than most files of these run, so many share one. */
const FILES_A_PROCESS = 12;
const FAST_PROCESSES_AT_A_TIME = 3;
const FILE_TIMEOUT_MS = 15 * 60_000;
/** Of files that run in one process and share a cluster (test/groups). */
const GROUP_TIMEOUT_MS = 30 * 60_000;
const LONG_FILE_TIMEOUT_MS = 60 * 60_000;
/** Real servers wait more than they work: two clusters at a time keep two cores busy. */
const CLUSTERS_AT_A_TIME = 2;
/** One holds seconds against what is promised, the other builds anew what all others run: they have the machine for themselves. */
const ALONE = ['failover', 'packages'];
/** These wait for the ends of tokens, for slow brokers and limits of time, and leave the cores to others: one at a time beside the two. */
const WAITERS = ['kafka-secure', 'secure-kerberos', 'kafka-slow', 'small-disk', 'exposed-api', 'server-retention'];
/** Of the real consumers (test/consumers); the others take longer, and are in the long forms. */
const CONSUMERS = ['postgres'];
/** In the order in which they begin, behind the groups: what is long and comes last would run alone. */
const LONGEST = ['whole-system', 'demo-command', 'several-brokers', 'wide-rows', 'restarts-of-everything', 'postgres'];
const SOAK_MINUTES = Number(process.env['SPOOR_SOAK_MINUTES'] ?? 20);

const TOOLS: readonly (readonly [title: string, command: readonly string[]])[] = [
  ['types', ['tsc', '-p', 'tsconfig.json']],
  ['types of the page', ['tsc', '-p', '.config/tsconfig.page.json']],
  ['lint', ['eslint', '--config', '.config/eslint.config.js', 'src', 'test', '.ci']],
  [
    'layout',
    [
      'prettier',
      '--config',
      '.config/prettierrc.json',
      '--log-level',
      'warn',
      '--check',
      'src',
      'test',
      '.ci',
      '.config',
    ],
  ],
  ['dependency direction', ['depcruise', '--config', '.config/dependency-cruiser.cjs', 'src']],
  ['dead code', ['knip', '--config', '.config/knip.json']],
];

interface Tally {
  passed: number;
  failed: number;
  readonly failures: string[];
  readonly skipped: string[];
  readonly durations: { readonly title: string; readonly seconds: number }[];
}

const SLOWEST_SHOWN = 20;
const FIRST_WORDS = 400;
const tally: Tally = { passed: 0, failed: 0, failures: [], skipped: [], durations: [] };

function count(passed: boolean, title: string): void {
  if (passed) tally.passed++;
  else {
    tally.failed++;
    tally.failures.push(title);
  }
}

async function runTool(title: string, command: readonly string[], runner: readonly string[] = []): Promise<void> {
  const started = Date.now();
  const [program, ...args] = [...runner, join(ROOT, 'node_modules/.bin', command[0]!), ...command.slice(1)];
  const { exitCode, output } = await runCommand(program!, args, { cwd: ROOT });
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  print(`${exitCode === 0 ? '✔' : '✖'} ${title} (${seconds} s)`);
  if (exitCode !== 0) print(output);
  count(exitCode === 0, title);
}

async function filesOf(...suites: readonly string[]): Promise<readonly string[]> {
  return (await Promise.all(suites.map((suite) => testFiles(join(ROOT, 'test', suite))))).flat();
}

/** Those of the files that are called so, in the order of the names. @throws one is not there: it was given another name */
function named(files: readonly string[], names: readonly string[]): string[] {
  return names.map((name) => {
    const file = files.find((each) => basename(each, '.test.ts') === name);
    if (file === undefined)
      throw new Error(`test/run.ts speaks of ${name}, and there is no such test among those that run by themselves`);
    return file;
  });
}

/** Why a test failed and where, on the line that names it: of a long run often nothing is kept but its end. */
function firstWords(error: Error): string {
  const { message, stack = '' } = error.cause instanceof Error ? error.cause : error;
  const words = message.replaceAll(/\s+/g, ' ').trim();
  const [line] = /[\w-]+\.test\.ts:\d+/.exec(stack) ?? [];
  return (words.length > FIRST_WORDS ? `${words.slice(0, FIRST_WORDS)}…` : words) + (line ? ` (${line})` : '');
}

/** Runs test files in processes of their own, `concurrency` at a time; what they say is printed as it comes, or at the end. */
async function runTests(
  files: readonly string[],
  concurrency: number,
  { timeout = FILE_TIMEOUT_MS, printsAtEnd = false } = {},
): Promise<void> {
  if (files.length === 0) return;
  const events = run({ files: [...files], concurrency, timeout });
  const note = (event: { name: string; file?: string | undefined; details: { duration_ms: number } }): void => {
    const file = event.file === undefined ? '' : relative(ROOT, event.file);
    tally.durations.push({ title: `${file}: ${event.name}`, seconds: event.details.duration_ms / 1000 });
  };
  events.on('test:pass', (event) => {
    if (event.details.type === 'suite') return;
    if (event.skip !== undefined && event.skip !== false) {
      tally.skipped.push(`${event.name}${typeof event.skip === 'string' ? `: ${event.skip}` : ''}`);
    } else count(true, event.name);
    note(event);
  });
  events.on('test:fail', (event) => {
    if (event.details.type === 'suite') return;
    const where = event.file === undefined ? '' : `${relative(ROOT, event.file)}: `;
    count(false, `${where}${event.name}: ${firstWords(event.details.error)}`);
    note(event);
  });
  const report = events.compose(new spec()) as AsyncIterable<string>;
  const kept: string[] = [];
  for await (const text of report)
    if (printsAtEnd) kept.push(text);
    else process.stdout.write(text);
  process.stdout.write(kept.join(''));
}

/** Runs test files one after the other in a few processes. */
async function runTogether(files: readonly string[]): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'spoor-tests-'));
  try {
    const processes = Math.ceil(files.length / FILES_A_PROCESS);
    const entries: string[] = [];
    for (let i = 0; i < processes; i++) {
      const entry = join(dir, `${i}.mjs`);
      const its = files.filter((_file, at) => at % processes === i);
      await writeFile(entry, its.map((file) => `import '${pathToFileURL(file).href}';\n`).join(''));
      entries.push(entry);
    }
    await runTests(entries, FAST_PROCESSES_AT_A_TIME);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** Compilers and simulated time do not mind to wait: these take what the others leave of the CPU, beside them. */
async function runPatient(): Promise<void> {
  for (const [title, command] of TOOLS) await runTool(title, command, ['nice', '-n', '19']);
  await runTests(await filesOf('simulation'), 1, { printsAtEnd: true });
}

async function testFiles(dir: string): Promise<readonly string[]> {
  const names = await readdir(dir, { recursive: true }).catch(() => []);
  return names
    .filter((name) => name.endsWith('.test.ts'))
    .sort()
    .map((name) => join(dir, name));
}

async function prepareIntegration(): Promise<void> {
  await runTool('build', ['tsx', '.config/build-program.js']);
  await runTool('build of the page', ['tsx', '.config/build-page.js']);
  process.env['TEST_SPOOR_PROGRAM'] = join(ROOT, 'dist/cli/main.js'); // what SpoorCluster starts
  try {
    await prepareServers();
    await buildJavaTools();
  } catch (error) {
    // Locally the tests then say themselves that they are skipped, and why.
    if (process.env['CI'] !== undefined) count(false, `servers for the integration tests: ${String(error)}`);
  }
}

async function runIntegration(): Promise<void> {
  await prepareIntegration();
  const groups = await filesOf('groups');
  const grouped = new Set<string>();
  for (const group of groups)
    for (const [, name] of (await readFile(group, 'utf8')).matchAll(/'\.\.\/(integration\/.+)'/g))
      grouped.add(join(ROOT, 'test', name!));
  const single = [...(await filesOf('integration')), ...named(await filesOf('consumers'), CONSUMERS)].filter(
    (file) => !grouped.has(file),
  );
  const [alone, waiters, longest] = [named(single, ALONE), named(single, WAITERS), named(single, LONGEST)];
  const others = single.filter((file) => ![alone, waiters, longest].some((of) => of.includes(file)));
  await runTests(alone, 1, { timeout: GROUP_TIMEOUT_MS });
  await Promise.all([
    runTests([...groups, ...longest, ...others], CLUSTERS_AT_A_TIME, { timeout: GROUP_TIMEOUT_MS }),
    runTests(waiters, 1, { timeout: GROUP_TIMEOUT_MS, printsAtEnd: true }),
  ]);
}

/** Every real consumer, each as it is in the long forms. */
async function runConsumers(): Promise<void> {
  process.env['SPOOR_TEST_FORM'] = 'long';
  await prepareIntegration();
  await runTests(await filesOf('consumers'), 1, { timeout: LONG_FILE_TIMEOUT_MS });
}

/** The long forms, one at a time: they are as large as two cores carry. */
async function runLong(): Promise<void> {
  print(`the long forms take about 110 minutes on two cores, of that ${SOAK_MINUTES} minutes of soak`);
  process.env['SPOOR_TEST_FORM'] = 'long';
  await prepareIntegration();
  const files: string[] = [];
  for (const file of await filesOf('unit', 'integration'))
    if ((await readFile(file, 'utf8')).includes('support/forms.ts')) files.push(file);
  files.push(...(await filesOf('consumers')));
  await runTests(files, 1, { timeout: LONG_FILE_TIMEOUT_MS });
  const soak = ['--import', 'tsx', join(ROOT, 'test/soak/main.ts'), '--minutes', String(SOAK_MINUTES)];
  const { exitCode, output } = await runCommand(process.execPath, soak, { cwd: ROOT });
  print(output);
  count(exitCode === 0, 'soak');
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Where the time went: what to look at first when a run has become too long. */
function printCosts(): void {
  const slowest = tally.durations.toSorted((a, b) => b.seconds - a.seconds).slice(0, SLOWEST_SHOWN);
  print('slowest tests:');
  for (const { title, seconds } of slowest) print(`  ${seconds.toFixed(1).padStart(6)} s  ${title}`);
  print('CPU seconds:');
  for (const [kind, seconds] of usage.byKind()) print(`  ${seconds.toFixed(0).padStart(6)} s  ${kind}`);
  print(`took ${(performance.now() / 60_000).toFixed(1)} minutes`);
}

process.execArgv.push('--import', join(ROOT, 'test/support/quick-ok.ts')); // as every process of tests has them
const wanted = process.argv.slice(2);
using usage = new CpuUsage();
let patient: Promise<void> | null = null;
for (const stage of wanted) {
  if (stage === 'check') {
    patient = runPatient();
    await runTogether(await filesOf(...FAST_SUITES));
  } else if (stage === 'integration') await runIntegration();
  else if (stage === 'consumers') await runConsumers();
  else if (stage === 'long') await runLong();
  else throw new Error(`no such stage: ${stage}`);
}
await patient;
printCosts();
for (const title of tally.skipped) print(`skipped: ${title}`);
for (const title of tally.failures) print(`failed: ${title}`);
print(`${tally.passed} passed, ${tally.failed} failed`);
process.exitCode = tally.failed === 0 && tally.passed > 0 ? 0 : 1;
