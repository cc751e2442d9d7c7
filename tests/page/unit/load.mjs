// The page's modules, as the gateway serves them. A `.js` file outside a package of type `module` would be read as
// CommonJS by older versions of Node, so a hook says what they are.
import { readFile } from 'node:fs/promises';
import { register } from 'node:module';

const PAGE = new URL('../../../crates/gateway/page/', import.meta.url);

const hooks = `
export async function load(url, context, next) {
  return url.startsWith(${JSON.stringify(PAGE.href)}) ? next(url, { ...context, format: 'module' }) : next(url, context);
}`;
register('data:text/javascript,' + encodeURIComponent(hooks));

/** Imports a module of the page. @param {string} name such as `format.js` */
export const page = (name) => import(new URL(name, PAGE).href);

/** The text of a file of the page. @param {string} name */
export const source = (name) => readFile(new URL(name, PAGE), 'utf8');
