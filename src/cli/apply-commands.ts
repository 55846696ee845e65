import type { Command } from 'commander';
import { putStream, streamPlan, type PutStream, type StreamPlan } from '../api/shapes.ts';
import { parseStreamBody } from '../streams/definition.ts';
import { expectShape, type ApiClient } from './api-client.ts';
import type { CliContext } from './cli-context.ts';
import { CliError, UnavailableError } from './cli-error.ts';
import { renderPlan } from './plan-text.ts';
import type { Layout } from './text-style.ts';
import { readDefinitions, type FileDefinition } from './stream-files.ts';
import { printable } from './text-table.ts';

interface FileOptions {
  readonly file: string[];
  readonly dryRun?: boolean;
  readonly json?: boolean;
  readonly wide?: boolean;
}

/** What is wrong with a file, or with a definition in it. */
interface FileFault {
  readonly source: string;
  /** Where in the definition; empty for the file as a whole. */
  readonly path: string;
  readonly message: string;
}

/** A definition that says which stream it is of. */
interface NamedDefinition extends FileDefinition {
  readonly name: string;
}

/** How the commands of definitions in files are put among the others. */
export interface ApplyParts {
  readonly streams: Command;
  readonly apiCommand: (parent: Command, name: string, description: string) => Command;
  readonly clientFor: (options: object) => ApiClient;
  readonly streamPath: (name: string) => string;
  readonly layout: (options: { readonly wide?: boolean }) => Layout;
  readonly context: CliContext;
}

/** `spoor streams apply` and `spoor streams validate`: streams as files. */
export function addApplyCommands({ streams, apiCommand, clientFor, streamPath, layout, context }: ApplyParts): void {
  const { out: print, err: complain, readStdin } = context;
  const withFiles = (command: Command): Command =>
    command.requiredOption(
      '-f, --file <path...>',
      'file or folder with definitions in JSON or YAML, - for standard input; may be given more than once',
    );

  withFiles(apiCommand(streams, 'apply', 'have streams be as files define them: made, changed, or left as they are'))
    .option('--dry-run', 'only say what would happen, and what is missing')
    .action(async (options: FileOptions) => {
      const definitions = namedDefinitions(options.file, readStdin);
      const client = clientFor(options);
      const query = options.dryRun ? '?dryRun=true' : '';
      const put = (definition: NamedDefinition): Promise<unknown> =>
        client.call('PUT', streamPath(definition.name) + query, definition.body);
      const failures = await eachInTurn(definitions, complain, async (definition) => {
        const answer = await put(definition);
        if (options.json) print(`${JSON.stringify(answer)}\n`);
        else if (options.dryRun) print(renderPlan(expectShape(streamPlan, answer), layout(options)));
        else print(renderPut(expectShape(putStream, answer)));
      });
      if (failures > 0) throw new CliError(1, `${failures} of ${definitions.length} streams were not applied`);
    });

  withFiles(apiCommand(streams, 'validate', 'check files that define streams, and say all that is wrong in them'))
    .option('--dry-run', 'ask a sidecar as well: what would happen, and what is missing')
    .action(async (options: FileOptions) => {
      const { named, definitions, faults: wrongFiles } = nameDefinitions(options.file, readStdin);
      const faults = [...wrongFiles, ...definitions.flatMap(faultsOf)];
      const isRight = ({ source }: FileDefinition): boolean => faults.every((fault) => fault.source !== source);
      if (!options.json) complain(renderFaults(faults, named));
      const plans: StreamPlan[] = [];
      const wrong = new Set(faults.map(({ source }) => source)).size;
      const failures = await eachInTurn([...named.values()].filter(isRight), complain, async (definition) => {
        const { name, source, body } = definition;
        if (!options.dryRun) {
          if (!options.json && wrongFiles.length === 0) print(`${source}: stream ${name} is well defined\n`);
          return;
        }
        const answer = await clientFor(options).call('PUT', `${streamPath(name)}?dryRun=true`, body);
        const plan = expectShape(streamPlan, answer);
        plans.push(plan);
        if (!options.json) print(renderPlan(plan, layout(options)));
        if (plan.missing.length > 0) throw new CliError(1, plan.missing.map((each) => `missing: ${each}`).join('\n'));
      });
      if (options.json) {
        const answer = { valid: wrong + failures === 0, faults, ...(options.dryRun && { plans }) };
        print(`${JSON.stringify(answer, null, 2)}\n`);
      }
      if (wrong + failures > 0)
        throw new CliError(1, `${wrong + failures} of ${definitions.length} definitions are not right`);
    });
}

/** All of them, or none where one cannot be read. @throws {CliError} with every fault */
function namedDefinitions(paths: readonly string[], readStdin: () => string): NamedDefinition[] {
  const { named, faults } = nameDefinitions(paths, readStdin);
  if (faults.length > 0)
    throw new CliError(1, faults.map(({ source, message }) => printable(`${source}: ${message}`)).join('\n'));
  return [...named.values()];
}

/** Those that can be read, by the streams that they define, and what is wrong with the files. */
function nameDefinitions(
  paths: readonly string[],
  readStdin: () => string,
): {
  readonly named: ReadonlyMap<string, NamedDefinition>;
  readonly definitions: readonly FileDefinition[];
  readonly faults: readonly FileFault[];
} {
  const { definitions, faults: unreadable } = readDefinitions(paths, readStdin);
  const faults: FileFault[] = unreadable.map((fault) => ({ ...fault, path: '' }));
  const named = new Map<string, NamedDefinition>();
  for (const definition of definitions) {
    const { source, body } = definition;
    const add = (message: string): void => void faults.push({ source, path: '', message });
    const name = typeof body === 'object' && body !== null && 'name' in body ? body.name : undefined;
    if (typeof name !== 'string' || name === '') {
      add('has no name of a stream');
      continue;
    }
    const other = named.get(name);
    if (other) add(`defines stream ${JSON.stringify(name)}, as ${other.source} does`);
    else named.set(name, { ...definition, name });
  }
  return { named, definitions, faults };
}

/** What is wrong in a definition, below the file and stream that it is of; of a file as a whole, behind its name. */
function renderFaults(faults: readonly FileFault[], named: ReadonlyMap<string, NamedDefinition>): string {
  const nameOf = new Map(Array.from(named.values(), ({ source, name }) => [source, name]));
  let last = '';
  return faults
    .map(({ source, path, message }) => {
      if (path === '') return printable(`${source}: ${message}`) + '\n';
      const name = nameOf.get(source);
      const head = source === last ? '' : `${source}${name === undefined ? '' : `: stream ${printable(name)}`}\n`;
      last = source;
      return `${head}  ${printable(`${path}: ${message}`)}\n`;
    })
    .join('');
}

/** Goes on behind one that fails, since the others are no worse for it. @returns how many failed */
async function eachInTurn(
  definitions: readonly NamedDefinition[],
  complain: (text: string) => void,
  work: (definition: NamedDefinition) => Promise<void>,
): Promise<number> {
  let failures = 0;
  for (const definition of definitions)
    try {
      await work(definition);
    } catch (error) {
      if (!(error instanceof CliError) || error.exitCode === 2 || error instanceof UnavailableError) throw error;
      failures++;
      const lines = error.message.split('\n').map((line) => `  ${line}\n`);
      complain(`${definition.source}: stream ${printable(definition.name)}\n${lines.join('')}`);
    }
  return failures;
}

/** As far as they can be told without a cluster. That there is no name is told of the file. */
function faultsOf({ source, body }: FileDefinition): FileFault[] {
  const parsed = parseStreamBody(body);
  if (parsed.kind === 'ok') return [];
  const isNameless = typeof body !== 'object' || body === null || !('name' in body);
  return parsed.faults
    .filter(({ path }) => !(isNameless && path === 'name'))
    .map(({ path, message }) => ({ source, path: path === '' ? 'the definition' : path, message }));
}

function renderPut({ name, outcome, warnings = [] }: PutStream): string {
  return [`stream ${name} ${outcome}`, ...warnings.map((warning) => `  warning: ${printable(warning)}`), ''].join('\n');
}
