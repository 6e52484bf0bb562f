/**
 * `npm start`: set-up, then the quick start (an embedded default under ./varve-data) or, with
 * arguments, that varve command: `npm start -- demo`.
 *
 * The command runs in this process: Ctrl-C and npm's signals reach it without a relay.
 */
import { orExplain, setUp } from './setup/main.mjs';

orExplain(() => setUp());
const given = process.argv.slice(2);
const command = given.length > 0 ? given : ['quickstart', '--state', './varve-data'];
process.argv = [process.execPath, 'dist/cli/main.js', ...command];
await import('../dist/cli/main.js');
