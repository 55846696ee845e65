/**
 * Makes a fresh clone ready: installs the packages of package-lock.json unless exactly these are installed.
 * Plain JavaScript on Node alone, since it runs before anything is installed.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { URL, fileURLToPath } from 'node:url';
import process from 'node:process';

const MIN_NODE = [20, 19];
const root = fileURLToPath(new URL('..', import.meta.url));

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < MIN_NODE[0] || (major === MIN_NODE[0] && minor < MIN_NODE[1])) {
  process.stderr.write(`Spoor needs Node ${MIN_NODE.join('.')} or later, this is ${process.versions.node}\n`);
  process.exit(1);
}
if (!installed()) {
  process.stderr.write('installing packages (npm ci)\n');
  const { status } = spawnSync('npm', ['ci', '--no-audit', '--no-fund'], { cwd: root, stdio: ['ignore', 2, 2] });
  process.exit(status ?? 1);
}

/** Compares what npm wrote about node_modules with the lock; file times say too little (a checkout renews them). */
function installed() {
  const wanted = packagesOf('package-lock.json');
  const present = packagesOf('node_modules/.package-lock.json');
  if (present === null) return false;
  return Object.entries(wanted ?? {}).every(
    ([path, entry]) => path === '' || entry.optional === true || present[path]?.version === entry.version,
  );
}

function packagesOf(file) {
  try {
    return JSON.parse(readFileSync(root + file, 'utf8')).packages;
  } catch {
    return null;
  }
}
