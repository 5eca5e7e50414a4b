// A firmware image as built: .bin, .uf2 or .elf, put where the flash begins.

import fs from 'node:fs';

const FLASH = 0x10000000;
const FLASH_END = 0x11000000;
const UF2_BLOCK = 512;
const UF2_MAGIC = [0x0a324655, 0x9e5d5157];
const UF2_END = 0x0ab16f30;
const RP2040_FAMILY = 0xe48bff56;
const ELF_MAGIC = 0x464c457f;
const PT_LOAD = 1;

/** Pieces `[address, bytes]` of flash. */
export function readImage(path) {
  const file = fs.readFileSync(path);
  if (file.length < 256) throw new Error(`${path}: ${file.length} bytes are no image`);
  const magic = file.readUInt32LE(0);
  const pieces = magic === UF2_MAGIC[0] ? uf2(file) : magic === ELF_MAGIC ? elf(file) : [[FLASH, file]];
  for (const [address, bytes] of pieces) {
    if (address < FLASH || address + bytes.length > FLASH_END) {
      throw new Error(`${path}: holds something for 0x${address.toString(16)}, which is not flash`);
    }
  }
  return pieces;
}

function uf2(file) {
  const pieces = [];
  for (let at = 0; at + UF2_BLOCK <= file.length; at += UF2_BLOCK) {
    if (file.readUInt32LE(at + 4) !== UF2_MAGIC[1] || file.readUInt32LE(at + UF2_BLOCK - 4) !== UF2_END) {
      throw new Error(`UF2 block ${at / UF2_BLOCK} is damaged`);
    }
    if (file.readUInt32LE(at + 28) !== RP2040_FAMILY) throw new Error('UF2 file for another chip');
    const size = file.readUInt32LE(at + 16);
    pieces.push([file.readUInt32LE(at + 12), file.subarray(at + 32, at + 32 + size)]);
  }
  return pieces;
}

function elf(file) {
  const pieces = [];
  const table = file.readUInt32LE(28);
  const [size, count] = [file.readUInt16LE(42), file.readUInt16LE(44)];
  for (let k = 0; k < count; k++) {
    const header = file.subarray(table + k * size, table + (k + 1) * size);
    const fileSize = header.readUInt32LE(16);
    if (header.readUInt32LE(0) !== PT_LOAD || fileSize === 0) continue;
    const from = header.readUInt32LE(4);
    pieces.push([header.readUInt32LE(12), file.subarray(from, from + fileSize)]); // physical address: where it is kept
  }
  return pieces;
}
