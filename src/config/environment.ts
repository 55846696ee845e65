import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parse as parseDotenv } from 'dotenv';
import { nearest } from '../util/nearest.ts';
import { readValueFile } from '../util/watched-file.ts';
import { VARIABLE_NAMES, hasFileVariant, variableInfo, type VariableName } from './variables.ts';
import { errorCodeOf } from '../util/error-code.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** The variables that were given, as text, and what is wrong with how they were given. */
export interface GivenVariables {
  readonly values: Readonly<Partial<Record<VariableName, string>>>;
  /** The file that a value was read from, for those given as `<NAME>_FILE`. */
  readonly files: Readonly<Partial<Record<VariableName, string>>>;
  /** Where that file is, from the root on. */
  readonly paths: Readonly<Partial<Record<VariableName, string>>>;
  /** Those that were given in any form, also where the value could not be had. */
  readonly names: ReadonlySet<VariableName>;
  readonly faults: readonly string[];
}

const PREFIX = 'SPOOR_';
const FILE_SUFFIX = '_FILE';
/** A value is shown up to here: enough to recognise, not enough to fill the terminal. */
const MAX_SHOWN = 120;

/**
 * Collects every `SPOOR_*` variable from the environment and from `.env` in `cwd`; the environment wins, variable by
 * variable. An empty value is no value. Files named by `<NAME>_FILE` are read here; one closing line break is theirs.
 */
export function readEnvironment(env: Environment, cwd: string): GivenVariables {
  const faults: string[] = [];
  const values: Partial<Record<VariableName, string>> = {};
  const files: Partial<Record<VariableName, string>> = {};
  const paths: Partial<Record<VariableName, string>> = {};
  const names = new Set<VariableName>();
  const inEnv = onlySpoor(env);
  const inFile = onlySpoor(readDotenv(resolve(cwd, '.env'), faults));

  for (const name of new Set([...Object.keys(inEnv), ...Object.keys(inFile)]))
    if (!isKnown(name)) faults.push(unknownNameFault(name));

  for (const name of VARIABLE_NAMES) {
    const fileName = name + FILE_SUFFIX;
    const hasFile = hasFileVariant(name);
    // Either form in the environment hides both of `.env`: a token given there is not "given twice" by a file here.
    const source = name in inEnv || (hasFile && fileName in inEnv) ? inEnv : inFile;
    const value = source[name] ?? '';
    const path = hasFile ? (source[fileName] ?? '') : '';
    if (value !== '' || path !== '') names.add(name);
    if (value !== '' && path !== '') {
      faults.push(
        `${name}: got ${shown(name, value)} and also ${fileName}=${JSON.stringify(path)}; allowed: one of the two`,
      );
    } else if (path !== '') {
      const absolute = resolve(cwd, path);
      const content = readSecretFile(fileName, absolute, faults);
      if (content !== null) [values[name], files[name], paths[name]] = [content, path, absolute];
    } else if (value !== '') {
      values[name] = value;
    }
  }
  return { values, files, paths, names, faults };
}

/** `SPOOR_X: got "y"; allowed: z`, secrets masked, as one line. */
export function valueFault(name: VariableName, given: GivenVariables, allowed = variableInfo(name).allowed): string {
  const file = given.files[name];
  const value = shown(name, given.values[name] ?? '');
  if (file === undefined) return `${name}: got ${value}; allowed: ${allowed}`;
  return `${name}${FILE_SUFFIX}: got ${value} in ${JSON.stringify(file)}; allowed: ${allowed}`;
}

/** A variable that was given, however wrong, is not called missing. */
export function missingOf(names: readonly VariableName[], given: GivenVariables, why: string): string[] {
  return names.filter((name) => !given.names.has(name)).map((name) => missing(name, why));
}

export function missing(name: VariableName, why: string): string {
  return `${name}: not given; allowed: ${variableInfo(name).allowed} (${why})`;
}

function shown(name: VariableName, value: string): string {
  if (variableInfo(name).secret === true) return '***';
  return JSON.stringify(value.length > MAX_SHOWN ? `${value.slice(0, MAX_SHOWN)}...` : value);
}

function onlySpoor(env: Environment): Record<string, string> {
  const found: Record<string, string> = {};
  for (const [name, value] of Object.entries(env))
    if (name.startsWith(PREFIX) && value !== undefined) found[name] = value;
  return found;
}

function isKnown(name: string): boolean {
  return VARIABLE_NAMES.some((known) => known === name || (hasFileVariant(known) && known + FILE_SUFFIX === name));
}

/** The value stays hidden: a mistyped name may hold a secret. */
function unknownNameFault(name: string): string {
  const withoutFile = VARIABLE_NAMES.find((known) => known + FILE_SUFFIX === name);
  if (withoutFile !== undefined)
    return `${name}: got ***; no such variable; allowed: ${withoutFile}, which is no secret`;
  const known = VARIABLE_NAMES.flatMap((each) => (hasFileVariant(each) ? [each, each + FILE_SUFFIX] : [each]));
  const shownName = /^[A-Za-z0-9_]+$/.test(name) ? name : JSON.stringify(name);
  const bare = (each: string) => each.slice(PREFIX.length); // what all begin with makes nobody alike
  const meant = nearest(bare(name), known.map(bare));
  return `${shownName}: got ***; no such variable; ${meant === null ? 'allowed: those in .env.example' : `did you mean ${PREFIX}${meant}?`}`;
}

/** Of what was given as files, those of these names. @param paths by name, see {@link GivenVariables.paths} */
export function pathsOf<Name extends VariableName>(
  paths: Readonly<Partial<Record<VariableName, string>>>,
  names: readonly Name[],
): Partial<Record<Name, string>> {
  const given = names.flatMap((name) => (paths[name] === undefined ? [] : [[name, paths[name]]]));
  return Object.fromEntries(given) as Partial<Record<Name, string>>;
}

function readDotenv(path: string, faults: string[]): Environment {
  try {
    return parseDotenv(readFileSync(path));
  } catch (error) {
    if (errorCodeOf(error) !== 'ENOENT')
      faults.push(
        `.env: got ${JSON.stringify(path)}, which cannot be read (${errorCodeOf(error) || 'unknown error'}); allowed: a readable file or none`,
      );
    return {};
  }
}

function readSecretFile(name: string, path: string, faults: string[]): string | null {
  const complain = (what: string) => {
    faults.push(
      `${name}: got ${JSON.stringify(path)}, ${what}; allowed: the path of a readable file that holds the value`,
    );
    return null;
  };
  try {
    const content = readValueFile(path);
    return content === '' ? complain('which is empty') : content;
  } catch (error) {
    return complain(`which cannot be read (${errorCodeOf(error) || 'unknown error'})`);
  }
}
