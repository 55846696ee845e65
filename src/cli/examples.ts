import type { Command } from 'commander';

/** Of each command that does something, by its words behind `spoor`. A test parses each, and holds each to 80 columns. */
const EXAMPLES: Readonly<Record<string, readonly string[]>> = {
  run: ['spoor run'],
  status: ['spoor status', 'spoor status --watch --interval 5', 'spoor status --json'],
  doctor: ['spoor doctor', 'spoor doctor --env-file /etc/spoor/spoor.env', 'spoor doctor --json'],
  verify: [
    'spoor verify orders',
    'spoor verify orders --table shop.orders --max-rows 0',
    'spoor verify orders --repair',
  ],
  demo: ['spoor demo', 'spoor demo --fault broker', 'spoor demo --redis --fault sidecar --exit-after 60'],
  'wal dump': ['spoor wal dump /data/kudu/wal/wals/5c1fa0e5b8a74b5e9e6f4a3d2c1b0a99'],
  completion: ['source <(spoor completion bash)', 'spoor completion fish | source'],
  'streams list': ['spoor streams list', 'spoor streams list --json'],
  'streams show': ['spoor streams show orders', 'spoor streams show orders --wide'],
  'streams schemas': ['spoor streams schemas orders --table shop.orders'],
  'streams create': [
    'spoor streams create orders.json --wait',
    'spoor streams create - --wait --timeout 600',
    "spoor streams create --name o --table 'shop.*' --topic 'cdc.{table}'",
    "spoor streams create --name o --table x --sink redis --key 'cdc.{table}'",
    'spoor streams create --name o --table x --sink file --dir /data/cdc',
  ],
  'streams apply': ['spoor streams apply -f streams/', 'spoor streams apply -f orders.yaml --dry-run'],
  'streams validate': ['spoor streams validate -f streams/', 'spoor streams validate -f orders.yaml --dry-run'],
  'streams delete': ['spoor streams delete orders'],
  'streams pause': ['spoor streams pause orders'],
  'streams resume': ['spoor streams resume orders'],
  'streams change': [
    "spoor streams change orders --add-table 'shop.item*'",
    'spoor streams change orders --copy-rows-per-second 5000',
    'spoor streams change orders change.json',
  ],
  'streams resync': [
    'spoor streams resync orders --wait',
    'spoor streams resync orders --table shop.orders',
    'spoor streams resync orders --from gap',
  ],
  'streams records': ['spoor streams records orders --last 5 --table shop.orders'],
  'streams trace': ['spoor streams trace orders 5c1fa0e5b8a74b5e9e6f4a3d2c1b0a99/7.12.0'],
  'streams rewind': [
    'spoor streams rewind orders --to 30m --table shop.orders',
    'spoor streams rewind orders --to 2026-01-31T12:00:00Z',
  ],
  'streams skip': ['spoor streams skip orders --tablet 5c1fa0e5 --opid 7.12345'],
};

/** Puts the examples of each command behind its help. */
export function addExamples(program: Command): void {
  for (const command of leavesOf(program)) {
    const examples = EXAMPLES[wordsOf(command)];
    if (examples) command.addHelpText('after', `\nExamples:\n${examples.map((line) => `  ${line}\n`).join('')}`);
  }
}

/** Commands that do something by themselves. */
export function leavesOf(command: Command): readonly Command[] {
  return command.commands.length === 0 ? [command] : command.commands.flatMap(leavesOf);
}

/** How a command is called behind `spoor`: `streams list`. */
export function wordsOf(command: Command): string {
  const { parent } = command;
  if (parent === null) return '';
  const before = wordsOf(parent);
  return before === '' ? command.name() : `${before} ${command.name()}`;
}
