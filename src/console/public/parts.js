// What several pages share: figures in words, tables, loading and failing.
import { html, useCallback, useEffect, useState } from './preact.js'

const dollarsOf = new Intl.NumberFormat('en', { style: 'currency', currency: 'USD', maximumSignificantDigits: 3 })
const numberOf = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })

export const dollars = (value) => (value === null || value === undefined ? '–' : dollarsOf.format(value))
export const count = (value) => numberOf.format(value ?? 0)
export const share = (value) => `${((value ?? 0) * 100).toFixed(1)} %`
export const signed = (value, digits = 3) =>
  value === null || value === undefined ? '–' : `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(digits)}`
/** A value with its interval, in few digits. */
export const between = (found, shown = signed) =>
  found ? `${shown(found.mean ?? found.estimate)} (${found.interval.map((end) => shown(end)).join(' to ')})` : '–'
export const milliseconds = (ms) => (ms === null || ms === undefined ? '–' : `${signed(ms, 0)} ms`)
export const signedDollars = (value) => `${value < 0 ? '−' : '+'}${dollars(Math.abs(value))}`
export const when = (ms) => new Date(ms).toLocaleString()

/** Whose word it is: of a slot that several may share. */
export const whose = ({ voice, keys }) =>
  keys?.length ? `${voice === 'judge' ? 'judge of ' : ''}${keys.join(', ')}` : voice

/** Asks again when `keys` change. */
export function useAnswer(load, keys) {
  const [state, setState] = useState({ value: null, problem: null, loading: true })
  const run = useCallback(async () => {
    setState((old) => ({ ...old, loading: true }))
    try {
      setState({ value: await load(), problem: null, loading: false })
    } catch (error) {
      setState({ value: null, problem: error.message, loading: false })
    }
  }, keys)
  useEffect(() => void run(), [run])
  return { ...state, again: run }
}

export function Loaded({ answer, children }) {
  if (answer.problem) return html`<p role="alert" class="bad">${answer.problem}</p>`
  if (!answer.value) return html`<p role="status" class="dim">Loading …</p>`
  return children(answer.value)
}

/** @param columns `{ title, number, cell(row) }` */
export function Table({ caption, columns, rows, empty = 'Nothing yet.', rowClass }) {
  if (rows.length === 0) return html`<p class="dim">${empty}</p>`
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${caption}>
    <table>
      <thead>
        <tr>${columns.map(({ title, number }) => html`<th scope="col" class=${number ? 'number' : ''}>${title}</th>`)}</tr>
      </thead>
      <tbody>
        ${rows.map(
          (row) => html`<tr class=${rowClass?.(row) ?? ''}>
            ${columns.map(({ cell, number }) => html`<td class=${number ? 'number' : ''}>${cell(row)}</td>`)}
          </tr>`,
        )}
      </tbody>
    </table>
  </div>`
}

export const Tile = ({ title, value, note, tone = '' }) =>
  html`<div class="tile"><dt>${title}</dt><dd><span class=${tone}>${value}</span>${note ? html`<br /><small>${note}</small>` : null}</dd></div>`

/** A button that asks once more before it does something. */
export function Sure({ children, question, onSure, disabled, label }) {
  return html`<button disabled=${disabled} aria-label=${label} onClick=${() => confirm(question) && onSure()}>${children}</button>`
}

/** Candidates and providers that can't be used, and why: closed, since there may be many. */
export const Off = ({ off }) =>
  off.length === 0
    ? null
    : html`<section><details><summary>Off: ${off.length}</summary>
        <ul>${off.map(({ name, why }) => html`<li>${name}: <span class="dim">${why}</span></li>`)}</ul></details></section>`

/** What is used and left of limits. */
export const Limits = ({ caption, limits, empty }) =>
  html`<${Table} caption=${caption} rows=${limits} empty=${empty} columns=${[
    { title: 'limit', cell: ({ what, window }) => `${what}, ${window === 'at_once' ? 'at once' : `a ${window}`}` },
    { title: 'of', number: true, cell: ({ what, limit }) => amount(what, limit) },
    { title: 'used', number: true, cell: ({ what, used }) => amount(what, used) },
    { title: 'left', number: true, cell: ({ what, left }) => amount(what, left) },
    { title: 'anew', cell: ({ resets_at }) => (resets_at ? when(resets_at) : '') },
  ]} />`

const amount = (what, value) => (what === 'usd' ? dollars(value) : count(value))
