// node main.mjs '{"image": ..., "uid": ..., ...}': one board, in real time on ptys or in virtual time into a file.
// See README.md for every option. What happens is told on stdout, one JSON object a line.

import fs from 'node:fs';

import { Board } from './board.mjs';
import { readImage } from './image.mjs';
import { runLive } from './live.mjs';
import { runVirtual } from './virtual.mjs';

// Synchronous, so that nothing is lost when the process ends.
const report = (what) => fs.writeSync(1, `${JSON.stringify(what)}\n`);

try {
  const options = JSON.parse(process.argv[2] ?? '{}');
  const script = options.script ? readScript(options.script) : [];
  const before = options.flash && fs.existsSync(options.flash) ? fs.readFileSync(options.flash) : null;
  const board = new Board(readImage(options.image), options, report, before);
  board.schedule([...board.world.events, ...script]);
  if (options.seconds !== undefined) runVirtual(board, options, report);
  else runLive(board, options, report);
} catch (error) {
  report({ event: 'failed', text: error.message });
  process.exitCode = 1;
}

function readScript(path) {
  const lines = fs.readFileSync(path, 'utf8').split('\n').filter((line) => line.trim());
  return lines.map((line) => JSON.parse(line));
}
