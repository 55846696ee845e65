import { Option, type Command } from 'commander';
import * as z from 'zod';
import { loadClientConfig } from '../config/client-config.ts';
import { streamView, tableSchemas } from '../api/shapes.ts';
import { ApiClient, expectShape } from './api-client.ts';
import { addApplyCommands } from './apply-commands.ts';
import { addTabletCommands } from './tablet-commands.ts';
import type { CliContext } from './cli-context.ts';
import { CliError } from './cli-error.ts';
import type { StreamView } from '../api/shapes.ts';
import { changeInput, streamInput, type ChangeFlags, type CreateFlags } from './stream-input.ts';
import { addSinkFlags } from './sink-flags.ts';
import { renderSchemas } from './schema-text.ts';
import { addStatusCommand } from './status-command.ts';
import { renderStream, renderStreams } from './stream-text.ts';
import { layoutFor, type Layout } from './text-style.ts';
import { addWaitOptions, askedWait, waited, type WaitFlags } from './wait-options.ts';

export interface ApiOptions {
  readonly url?: string;
  readonly ca?: string;
  readonly token?: string;
  readonly tokenFile?: string;
  readonly json?: boolean;
  /** Nothing is shortened. */
  readonly wide?: boolean;
}

interface ResyncFlags {
  readonly table?: readonly string[];
  readonly tablet?: readonly string[];
  readonly from?: string;
}

/** `spoor streams ...` and `spoor status`: the HTTP API of a running sidecar from a shell. */
export function addApiCommands(program: Command, context: CliContext): void {
  const { out: print, readStdin } = context;
  const clientFor = (options: ApiOptions): ApiClient => openClient(options, context);
  const layout = (options: ApiOptions): Layout => layoutFor(context, options);
  const streams = program
    .command('streams')
    .description('list, show, create, change, pause, resync, rewind or delete streams');

  apiCommand(streams, 'list', 'list the streams').action(async (options: ApiOptions) => {
    const answer = await clientFor(options).call('GET', '/v1/streams');
    print(options.json ? toJson(answer) : renderStreams(expectShape(z.array(streamView), answer), layout(options)));
  });

  apiCommand(streams, 'show', 'show a stream and each of its tablets')
    .argument('<stream>', 'name of the stream')
    .action(async (name: string, options: ApiOptions) => {
      const answer = await clientFor(options).call('GET', streamPath(name));
      print(options.json ? toJson(answer) : renderStream(expectShape(streamView, answer), layout(options)));
    });

  apiCommand(streams, 'schemas', 'print what consumers need to know of the records of a stream')
    .argument('<stream>', 'name of the stream')
    .option('--table <name>', 'only this table')
    .action(async (name: string, options: ApiOptions & { table?: string }) => {
      const query = options.table === undefined ? '' : `?table=${encodeURIComponent(options.table)}`;
      const answer = await clientFor(options).call('GET', `${streamPath(name)}/schemas${query}`);
      print(options.json ? toJson(answer) : renderSchemas(expectShape(z.array(tableSchemas), answer)));
    });

  const create = apiCommand(streams, 'create', 'create a stream from a JSON file or from flags')
    .argument('[file]', 'JSON file with the definition, - for standard input')
    .option('--name <name>', 'name of the stream')
    .option('--table <pattern...>', 'table names, or patterns with *; may be given more than once')
    .option('--start <where>', 'now or snapshot')
    .option('--format <type>', 'json (the default), avro or protobuf')
    .option('--format-option <name=value...>', 'options of the format: registry=http://host:8081, decimals=string')
    .option('--images <kind>', 'after (the default), full or changed')
    .option('--no-tombstones', 'no null record after a delete')
    .option('--resolved-interval-ms <n>', 'marks of what is resolved, about so often')
    .option('--copy-rows-per-second <n>', 'how many rows a sidecar copies a second at most; 0 is no limit')
    .option('--paused', 'make it without shipping anything yet; its log is held');
  addSinkFlags(addWaitOptions(create)).action(
    async (file: string | undefined, options: ApiOptions & CreateFlags & WaitFlags) => {
      const wait = askedWait('run', options);
      const body = streamInput(file, options, readStdin);
      const client = clientFor(options);
      const answer = await waited(await client.call('POST', '/v1/streams', body), wait, { client, context });
      print(options.json ? toJson(answer) : renderStream(expectShape(streamView, answer), layout(options)));
    },
  );

  addApplyCommands({ streams, apiCommand, clientFor, streamPath, layout, context });

  apiCommand(streams, 'delete', 'delete a stream; topics and records stay')
    .argument('<stream>', 'name of the stream')
    .action(async (name: string, options: ApiOptions) => {
      await clientFor(options).call('DELETE', streamPath(name));
      print(options.json ? toJson({ deleted: name }) : `deleted stream ${name}\n`);
    });

  const changes = [
    ['pause', 'pause a stream: nothing of it ships, and its log is held'],
    ['resume', 'let a paused stream go on where it stopped'],
  ] as const;
  for (const [verb, summary] of changes)
    apiCommand(streams, verb, summary)
      .argument('<stream>', 'name of the stream')
      .action(async (name: string, options: ApiOptions) => {
        const answer = await clientFor(options).call('POST', `${streamPath(name)}/${verb}`);
        print(options.json ? toJson(answer) : renderStream(expectShape(streamView, answer), layout(options)));
      });

  apiCommand(streams, 'change', 'change a stream while it goes on; tables that are new in it are copied first')
    .argument('<stream>', 'name of the stream')
    .argument('[file]', 'JSON file with the change (a merge patch of the definition), - for standard input')
    .option('--add-table <pattern...>', 'take in tables: names, or patterns with *')
    .option('--remove-table <pattern...>', 'patterns of the stream that are to go')
    .option('--copy-rows-per-second <n>', 'how many rows a sidecar copies a second at most; 0 is no limit')
    .action(async (name: string, file: string | undefined, options: ApiOptions & ChangeFlags) => {
      const client = clientFor(options);
      const current = async (): Promise<StreamView> =>
        expectShape(streamView, await client.call('GET', streamPath(name)));
      const answer = await client.call('PATCH', streamPath(name), await changeInput(file, options, readStdin, current));
      print(options.json ? toJson(answer) : renderStream(expectShape(streamView, answer), layout(options)));
    });

  addWaitOptions(apiCommand(streams, 'resync', 'copy the rows of a stream again, or repair its gaps, while it goes on'))
    .argument('<stream>', 'name of the stream')
    .option('--table <name...>', 'only these tables')
    .option('--tablet <id...>', 'only these tablets')
    .option('--from <where>', 'snapshot (all rows, the default) or gap (what a lost log left out)')
    .action(async (name: string, options: ApiOptions & WaitFlags & ResyncFlags) => {
      const { table, tablet, from } = options;
      const body = {
        ...(table && { tables: table }),
        ...(tablet && { tablets: tablet }),
        ...(from !== undefined && { from }),
      };
      const wait = askedWait(from === 'gap' ? 'run' : 'copy', options);
      const client = clientFor(options);
      const taken = await client.call('POST', `${streamPath(name)}/resync`, body);
      const answer = await waited(taken, wait, { client, context });
      print(options.json ? toJson(answer) : renderStream(expectShape(streamView, answer), layout(options)));
    });

  addTabletCommands({ streams, apiCommand, clientFor, streamPath, layout, context });

  addStatusCommand(
    apiCommand(program, 'status', 'show every tablet of every stream, and the sidecars'),
    clientFor,
    context,
  );
}

/** A command with the options that all of them share. */
function apiCommand(parent: Command, name: string, description: string): Command {
  return addApiOptions(parent.command(name).description(description)).option('--wide', 'shorten no names and ids');
}

export function addApiOptions(command: Command): Command {
  return command
    .option('--url <url>', 'API of a sidecar (default: SPOOR_HTTP_LISTEN, else http://127.0.0.1:8100)')
    .option('--ca <file>', 'certificates to trust, PEM (default: SPOOR_HTTP_TLS_CLIENT_CA, else those of Node)')
    .option('--token-file <file>', 'file that holds the bearer token (default: SPOOR_HTTP_TOKEN)')
    .addOption(new Option('--token <token>').hideHelp()) // taken by earlier versions
    .option('--json', 'print the answer as JSON');
}

/** Options win over the environment. A token of the environment belongs to the sidecar of the environment, or to `--url`'s. */
export function openClient({ url, ca, token, tokenFile }: ApiOptions, { env, cwd }: CliContext): ApiClient {
  if (token !== undefined)
    throw new CliError(
      2,
      '--token: got ***; an argument can be seen by every user of the machine; allowed: --token-file <file>, SPOOR_HTTP_TOKEN or SPOOR_HTTP_TOKEN_FILE',
    );
  // What is given by options is not asked of the environment, where it may be wrong.
  const given = {
    ...env,
    ...(ca !== undefined && { SPOOR_HTTP_TLS_CLIENT_CA: '', SPOOR_HTTP_TLS_CLIENT_CA_FILE: ca }),
    ...(tokenFile !== undefined && { SPOOR_HTTP_TOKEN: '', SPOOR_HTTP_TOKEN_FILE: tokenFile }),
  };
  const loaded = loadClientConfig(given, cwd);
  if ('faults' in loaded) throw new CliError(2, loaded.faults.join('\n'));
  return new ApiClient({ ...loaded, url: url ?? loaded.url });
}

export function streamPath(name: string): string {
  if (name === '' || name === '.' || name === '..')
    throw new CliError(2, `${JSON.stringify(name)} cannot be the name of a stream`);
  return `/v1/streams/${encodeURIComponent(name)}`;
}

function toJson(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
