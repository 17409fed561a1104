// The same pixel of another image, in other primaries; premultiplied, so alpha does not matter.
void main()
{
  vec4 texel = texelFetch(image, ivec2(gl_FragCoord.xy), 0);
  drawn_color = vec4(clamp(COLORS * texel.rgb, vec3(-65504.0), vec3(65504.0)), texel.a);
}
