/** The sign of Meshlift; beside its name it says nothing more to a screen reader. */
export function Logo({ size = 32 }: { size?: number }) {
  return (
    <svg viewBox="0 0 32 32" width={size} height={size} aria-hidden focusable="false" className="ml-logo">
      <rect width="32" height="32" rx="7" fill="#0066cc" />
      <g fill="none" stroke="#fff" strokeWidth="2.6" strokeLinecap="round" strokeLinejoin="round">
        <path d="M7 24 16 15l9 9" opacity=".55" />
        <path d="M7 16l9-9 9 9" />
      </g>
    </svg>
  )
}
