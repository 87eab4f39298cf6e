# Objects of core, and of the directory that includes this; no PostgreSQL. OUT and CXXFLAGS are the includer's.
CORE := $(patsubst $(ROOT)/src/core/%.cpp,$(OUT)/core_%.o,$(wildcard $(ROOT)/src/core/*.cpp))
HERE := $(patsubst %.cpp,$(OUT)/%.o,$(wildcard *.cpp))

$(OUT)/core_%.o: $(ROOT)/src/core/%.cpp | $(OUT)
	$(CXX) $(CXXFLAGS) -c -o $@ $<

$(OUT)/%.o: %.cpp | $(OUT)
	$(CXX) $(CXXFLAGS) -c -o $@ $<

$(OUT):
	mkdir -p $@

clean:
	rm -rf $(OUT)

-include $(wildcard $(OUT)/*.d)
