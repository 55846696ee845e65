import type { Command } from 'commander';
import { putStream, streamPlan, type PutStream, type StreamPlan } from '../api/shapes.ts';
import { parseStreamBody } from '../streams/definition.ts';
import { expectShape, type ApiClient } from './api-client.ts';
import type { CliContext } from './cli-context.ts';
import { CliError, UnavailableError } from './cli-error.ts';
import { renderPlan } from './plan-text.ts';
import { readDefinitions, type FileDefinition } from './stream-files.ts';
import { printable } from './text-table.ts';

interface FileOptions {
  readonly file: string[];
  readonly dryRun?: boolean;
  readonly json?: boolean;
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
  readonly context: CliContext;
}

/** `spoor streams apply` and `spoor streams validate`: streams as files. */
export function addApplyCommands({ streams, apiCommand, clientFor, streamPath, context }: ApplyParts): void {
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
        else if (options.dryRun) print(renderPlan(expectShape(streamPlan, answer)));
        else print(renderPut(expectShape(putStream, answer)));
      });
      if (failures > 0) throw new CliError(1, `${failures} of ${definitions.length} streams were not applied`);
    });

  withFiles(apiCommand(streams, 'validate', 'check files that define streams, and say all that is wrong in them'))
    .option('--dry-run', 'ask a sidecar as well: what would happen, and what is missing')
    .action(async (options: FileOptions) => {
      const definitions = namedDefinitions(options.file, readStdin);
      const plans: StreamPlan[] = [];
      const failures = await eachInTurn(definitions, complain, async ({ name, source, body }) => {
        const faults = faultsOf(body);
        if (faults.length > 0) throw new CliError(1, faults.join('\n'));
        if (options.dryRun) {
          const answer = await clientFor(options).call('PUT', `${streamPath(name)}?dryRun=true`, body);
          const plan = expectShape(streamPlan, answer);
          plans.push(plan);
          if (!options.json) print(renderPlan(plan));
          if (plan.missing.length > 0) throw new CliError(1, plan.missing.map((each) => `missing: ${each}`).join('\n'));
        } else if (!options.json) print(`${source}: stream ${name} is well defined\n`);
      });
      if (options.json) print(`${JSON.stringify(options.dryRun ? plans : { valid: failures === 0 }, null, 2)}\n`);
      if (failures > 0) throw new CliError(1, `${failures} of ${definitions.length} definitions are not right`);
    });
}

/** All of them, or none where one cannot be read. @throws {CliError} with every fault */
function namedDefinitions(paths: readonly string[], readStdin: () => string): NamedDefinition[] {
  const { definitions, faults: unreadable } = readDefinitions(paths, readStdin);
  const faults = [...unreadable];
  const named = new Map<string, NamedDefinition>();
  for (const definition of definitions) {
    const { source, body } = definition;
    const name = typeof body === 'object' && body !== null && 'name' in body ? body.name : undefined;
    if (typeof name !== 'string' || name === '') {
      faults.push(`${source}: has no name of a stream`);
      continue;
    }
    const other = named.get(name);
    if (other) faults.push(`${source}: defines stream ${JSON.stringify(name)}, as ${other.source} does`);
    else named.set(name, { ...definition, name });
  }
  if (faults.length > 0) throw new CliError(1, faults.map(printable).join('\n'));
  return [...named.values()];
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

/** As far as they can be told without a cluster. */
function faultsOf(body: unknown): string[] {
  const parsed = parseStreamBody(body);
  return parsed.kind === 'ok' ? [] : parsed.faults.map(({ path, message }) => `${path}: ${message}`);
}

function renderPut({ name, outcome, warnings = [] }: PutStream): string {
  return [`stream ${name} ${outcome}`, ...warnings.map((warning) => `  warning: ${printable(warning)}`), ''].join('\n');
}
