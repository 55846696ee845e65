import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { launch, type Browser, type Page } from 'puppeteer-core';
import { findChromium } from '../../src/demo/system-packages.ts';
import { toolsMissing } from './cluster.ts';

/** For a test's `skip`: why there is no browser here, or false. In CI it rejects instead. */
export function chromiumMissing(): Promise<string | false> {
  return toolsMissing({ chromium: true });
}

/** A real Chromium without a window. */
export async function launchBrowser(): Promise<Browser> {
  const executablePath = await findChromium();
  if (executablePath === null) throw new Error('there is no chromium');
  const args = ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--font-render-hinting=none'];
  return launch({ executablePath, headless: true, args });
}

export interface Visit extends AsyncDisposable {
  readonly page: Page;
  /** What the page complained of on the console, and requests that failed. */
  readonly complaints: readonly string[];
  /** Origins that it asked anything of. */
  readonly origins: ReadonlySet<string>;
}

export interface VisitOptions {
  readonly dark?: boolean;
  readonly width?: number;
  readonly height?: number;
  readonly reducedMotion?: boolean;
  /** Of these complaints nobody needs to hear: they are what a test brings about. */
  readonly expects?: RegExp;
}

/** Opens a tab of its own, with nothing of others in it, that keeps what it complains of. */
export async function visit(browser: Browser, url: string, options: VisitOptions = {}): Promise<Visit> {
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  const complaints: string[] = [];
  const origins = new Set<string>();
  const note = (text: string): void => {
    if (options.expects?.test(text) !== true) complaints.push(text);
  };
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warn')
      note(`${message.type()}: ${message.text()} ${message.location().url ?? ''}`);
  });
  page.on('pageerror', (error) => {
    note(`error: ${String(error)}`);
  });
  page.on('request', (request) => {
    if (!request.url().startsWith('data:')) origins.add(new URL(request.url()).origin);
  });
  await page.setViewport({ width: options.width ?? 1280, height: options.height ?? 900 });
  await page.emulateMediaFeatures([
    { name: 'prefers-color-scheme', value: options.dark === true ? 'dark' : 'light' },
    { name: 'prefers-reduced-motion', value: options.reducedMotion === true ? 'reduce' : 'no-preference' },
  ]);
  await page.goto(url, { waitUntil: 'domcontentloaded' });
  return { page, complaints, origins, [Symbol.asyncDispose]: () => context.close() };
}

/** Keeps what is seen, where the environment says that somebody wants it. */
export async function keepScreenshot(page: Page, name: string, fullPage = false): Promise<void> {
  const dir = process.env['SPOOR_TEST_SCREENSHOTS'];
  if (dir === undefined || dir === '') return;
  await mkdir(dir, { recursive: true });
  await page.screenshot({ path: join(dir, `${name}.webp`), type: 'webp', quality: 80, fullPage });
}
