import assert from 'node:assert/strict';
import axe from 'axe-core';
import type { Page } from 'puppeteer-core';

const WAIT_MS = 30_000;

/** Clicks what has this role and name, as a screen reader has them, once it is there. */
export async function press(
  page: Page,
  role: 'button' | 'link' | 'radio',
  name: string,
  timeout = WAIT_MS,
): Promise<void> {
  await page.locator(`::-p-aria([role="${role}"][name="${name}"])`).setTimeout(timeout).click();
}

/** Fills a field in, by its label. */
export async function fill(page: Page, label: string, text: string): Promise<void> {
  const field = page.locator(`::-p-aria([role="textbox"][name="${label}"])`).setTimeout(WAIT_MS);
  await field.fill(text);
}

export function textOf(page: Page, selector: string): Promise<string> {
  return page.$eval(selector, (element) => (element as unknown as { innerText: string }).innerText);
}

/** Waits until the text of an element is as it should be. @throws {Error} with what it was last */
export async function waitForText(page: Page, selector: string, pattern: RegExp, timeoutMs = WAIT_MS): Promise<string> {
  const deadline = performance.now() + timeoutMs;
  for (let last = 'nothing'; ;) {
    last = await textOf(page, selector).catch((error: unknown) => String(error));
    if (pattern.test(last)) return last;
    if (performance.now() > deadline) {
      const main = await textOf(page, 'main').catch(String);
      throw new Error(`${selector} does not become ${String(pattern)}: ${last}`, { cause: main.slice(0, 2000) });
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

interface AxeResult {
  readonly violations: readonly {
    readonly id: string;
    readonly impact: string | null;
    readonly help: string;
    readonly nodes: readonly { readonly html: string; readonly failureSummary?: string }[];
  }[];
}

/** Holds what is shown against the rules of axe (WCAG 2.2 A and AA, and good practice): nothing serious is found. */
export async function assertAccessible(page: Page, what: string): Promise<void> {
  // By the debugger: the page's own policy lets no other script in, and is not to be loosened for a test.
  await page.evaluate(axe.source);
  const { violations } = (await page.evaluate('axe.run(document, { resultTypes: ["violations"] })')) as AxeResult;
  const grave = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  const told = grave.map(
    ({ id, help, nodes }) =>
      `${id}: ${help}\n${nodes.map(({ html, failureSummary }) => `  ${html}\n  ${failureSummary ?? ''}`).join('\n')}`,
  );
  assert.deepEqual(told, [], what);
}
