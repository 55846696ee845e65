import { Argument, type Command } from 'commander';
import * as z from 'zod';
import type { ApiClient } from './api-client.ts';
import type { CliContext } from './cli-context.ts';
import { completionScript, SHELLS, type Shell } from './completion.ts';

/** A shell waits for it with every key. */
const NAMES_WITHIN_MS = 1_000;

const named = z.array(z.object({ name: z.string() }));

/** `spoor completion`. */
export function addCompletionCommand(program: Command, clientFor: () => ApiClient, { out }: CliContext): void {
  program
    .command('completion')
    .description('print the script by which a shell completes commands, options and names of streams')
    .addArgument(
      new Argument('<shell>', 'bash, zsh or fish; streams: their names, as the scripts ask for them').choices([
        ...SHELLS,
        'streams',
      ]),
    )
    .action(async (shell: Shell | 'streams') => {
      out(shell === 'streams' ? await namesOfStreams(clientFor) : completionScript(program, shell));
    });
}

/** A line each; none where nobody answers at once: that is no time to be told why. */
async function namesOfStreams(clientFor: () => ApiClient): Promise<string> {
  try {
    const late = new Promise<null>((resolve) => setTimeout(resolve, NAMES_WITHIN_MS, null).unref());
    const answer = await Promise.race([clientFor().call('GET', '/v1/streams'), late]);
    const names = named.safeParse(answer).data ?? [];
    return names.map(({ name }) => `${name}\n`).join('');
  } catch {
    return '';
  }
}
