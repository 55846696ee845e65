/**
 * What Spoor runs on besides itself, by package-lock.json: how many packages, and under which licences. `npm run
 * dependencies` prints that, and what `npm audit --omit=dev` says; test/unit/dependencies.test.ts holds
 * docs/operations.md against it.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { fileURLToPath, URL } from 'node:url';

/** Under these Spoor may be passed on as it is, by whoever likes. */
const ALLOWED_LICENSES = [
  '0BSD',
  'Apache-2.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'BlueOak-1.0.0',
  'ISC',
  'MIT',
  'Unlicense',
];

/**
 * @param lock package-lock.json, parsed
 * @returns of what is installed without `--include=dev`: packages that are on every machine, binaries of which each
 *   machine takes those of its own kind, and how many packages each licence has
 */
export function runtimePackages(lock) {
  const found = Object.entries(lock.packages).filter(
    ([path, { dev, devOptional }]) => path !== '' && !dev && !devOptional,
  );
  const isBinary = ([, { optional, os, cpu }]) => optional === true && (os !== undefined || cpu !== undefined);
  const isForBinary = ([, { optional, os, cpu }]) => optional === true && os === undefined && cpu === undefined;
  const licenses = {};
  const unlicensed = [];
  for (const [path, { license }] of found) {
    const name = license ?? 'none';
    licenses[name] = (licenses[name] ?? 0) + 1;
    if (!isAllowed(name)) unlicensed.push(`${path.replace(/^.*node_modules\//, '')} (${name})`);
  }
  return {
    everywhere: found.filter((each) => !isBinary(each) && !isForBinary(each)).length,
    binaries: found.filter((each) => isBinary(each) || isForBinary(each)).length,
    licenses,
    unlicensed,
    installScripts: found.filter(([, { hasInstallScript }]) => hasInstallScript === true).map(([path]) => path),
  };
}

/** @param expression of SPDX: of `(A OR B)` one suffices, of `(A AND B)` both must */
function isAllowed(expression) {
  return expression
    .replaceAll(/[()]/g, '')
    .split(' OR ')
    .some((choice) => choice.split(' AND ').every((license) => ALLOWED_LICENSES.includes(license)));
}

function print(line) {
  process.stdout.write(`${line}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const lock = JSON.parse(readFileSync(new URL('../package-lock.json', import.meta.url), 'utf8'));
  const { everywhere, binaries, licenses, unlicensed, installScripts } = runtimePackages(lock);
  print(
    `${everywhere} packages at run time, and ${binaries} that are binaries for one kind of machine each, or go with these`,
  );
  for (const [license, count] of Object.entries(licenses).sort(([, a], [, b]) => b - a)) print(`  ${count} ${license}`);
  print(`licences that are not allowed: ${unlicensed.join(', ') || 'none'}`);
  print(`packages that run a script when they are installed: ${installScripts.join(', ') || 'none'}`);
  print('npm audit --omit=dev:');
  const { status } = spawnSync('npm', ['audit', '--omit=dev'], { stdio: 'inherit' });
  process.exitCode = unlicensed.length > 0 || status !== 0 ? 1 : 0;
}
